"""How often one may search: on the pages and at /api/ together, apart from all else."""

import time

import pytest
from django.test import Client

from gateway.access import token_buckets
from tests.support.api_client import by_key, signed_in
from tests.support.chat.writing import talk

pytestmark = pytest.mark.usefixtures("books", "buckets")

PAGE, API = "/chat/all?q=tides", "/api/conversations/search?text=tides"


@pytest.fixture
def buckets(monkeypatch, settings) -> None:
    """What Redis keeps: it outlives the event loops of single requests."""
    twin = token_buckets.Twin()

    async def take(buckets):
        return twin.take(buckets, time.monotonic())

    monkeypatch.setattr(token_buckets, "take", take)
    settings.CHAT_SEARCHES_PER_MINUTE = 2


@pytest.fixture
def hers(alice) -> Client:
    talk(alice, "How do tides work?")
    return signed_in(alice)


def test_the_page_says_when_to_search_again_and_keeps_what_was_asked(hers):
    found = [hers.get(PAGE) for _ in range(3)]
    assert [one.status_code for one in found] == [200, 200, 429]
    assert "<mark>tides</mark>" in found[1].text
    assert 1 <= int(found[2]["Retry-After"]) <= 30
    assert f"try again in {found[2]['Retry-After']} s." in found[2].text
    assert 'value="tides"' in found[2].text
    assert "stands in none of your chats" not in found[2].text


def test_the_api_says_so_with_a_problem(alice, hers):
    client = by_key(alice, scopes=["chat"])
    assert [client.get(API).status_code for _ in range(2)] == [200, 200]
    refused = client.get(API)
    assert refused.status_code == 429
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused["Retry-After"]) <= 30
    assert client.get("/api/conversations").status_code == 200


def test_pages_and_keys_count_together_and_others_apart(alice, bob, hers):
    assert hers.get(PAGE).status_code == 200
    assert by_key(alice, scopes=["chat"]).get(API).status_code == 200
    assert hers.get(PAGE).status_code == 429
    assert by_key(alice, scopes=["chat"]).get(API).status_code == 429
    assert hers.get("/chat/all").status_code == 200
    assert signed_in(bob).get(PAGE).status_code == 200


def test_what_is_refused_decrypts_nothing(hers, monkeypatch):
    for _ in range(2):
        hers.get(PAGE)
    monkeypatch.delattr("chat.search.search")
    assert hers.get(PAGE).status_code == 429
    assert hers.get(API).status_code == 429


def test_an_account_without_limits_searches_as_often_as_it_likes(alice, hers):
    alice.credit_account.unlimited = True
    alice.credit_account.save()
    assert [hers.get(PAGE).status_code for _ in range(4)] == [200] * 4
