"""How often /api/ may be asked: by person, by key, by address."""

import pytest
from django.core.cache import cache
from django.test import Client

from tests.support.api_client import bearing, by_key, signed_in
from tests.support.factories import make_key, make_user

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture(autouse=True)
def low_rates(settings):
    settings.API_REQUESTS_PER_MINUTE = {"person": 4, "key": 2, "address": 3}
    cache.clear()
    yield
    cache.clear()


def statuses(client, times: int, path: str = "/api/account", **extra) -> list[int]:
    return [client.get(path, **extra).status_code for _ in range(times)]


def test_a_key_is_told_when_to_come_back(alice):
    client = by_key(alice)
    assert statuses(client, 3) == [200, 200, 429]
    answer = client.get("/api/account")
    assert answer.json()["code"] == "rate_limit_exceeded"
    assert answer["Content-Type"] == "application/problem+json"
    assert 1 <= int(answer["Retry-After"]) <= 60


def test_one_key_doesn_t_use_up_another(alice):
    one, other = by_key(alice), by_key(alice)
    assert statuses(one, 3) == [200, 200, 429]
    assert statuses(other, 1) == [200]


def test_all_keys_and_sessions_of_a_person_count_together(alice, bob):
    assert statuses(by_key(alice), 2) == [200, 200]
    assert statuses(by_key(alice), 2) == [200, 200]
    assert statuses(signed_in(alice), 1) == [429]
    assert statuses(signed_in(bob), 1) == [200]


def test_a_keys_own_limit_counts_here_too(alice):
    assert statuses(by_key(alice, requests_per_minute=1), 2) == [200, 429]


def test_strangers_count_by_their_address():
    assert statuses(Client(), 4, "/api/prices") == [200, 200, 200, 429]
    assert statuses(Client(), 1, "/api/prices", REMOTE_ADDR="192.0.2.9") == [200]


def test_an_address_can_t_be_made_up():
    for number in range(3):
        forged = {"HTTP_X_FORWARDED_FOR": f"192.0.2.{number}"}
        assert statuses(Client(), 1, "/api/prices", **forged) == [200]
    assert statuses(Client(), 1, "/api/prices", HTTP_X_FORWARDED_FOR="192.0.2.9") == [429]


def test_wrong_keys_count_by_their_address(alice):
    assert statuses(bearing("kyma-wrong"), 4) == [401, 401, 401, 429]


def test_what_is_refused_counts_too(alice):
    assert statuses(by_key(alice, scopes=[]), 3) == [403, 403, 429]
    assert statuses(Client(), 4) == [401, 401, 401, 429]


def test_an_account_without_limits_has_none_here():
    user = make_user()
    key = make_key(user, scopes=["account"])[1]
    assert statuses(bearing(key), 1) == [200]
    user.credit_account.unlimited = True
    user.credit_account.save()
    assert statuses(bearing(key), 6) == [200] * 6


def test_who_is_far_beyond_a_limit_that_was_lowered_is_told_too(alice, settings):
    settings.API_REQUESTS_PER_MINUTE = {"person": 9, "key": 9, "address": 9}
    client = by_key(alice)
    assert statuses(client, 6) == [200] * 6
    settings.API_REQUESTS_PER_MINUTE = {"person": 2, "key": 2, "address": 2}
    assert client.get("/api/account")["Retry-After"] == "60"
