"""The overview: balance, what was used lately, and how to begin."""

import datetime as dt
import zoneinfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import CreditAccount
from kyma.pages.overview import start_of
from tests.conftest import USD
from tests.support.factories import make_key, make_provider, make_request, make_route

URL = "/dashboard"
NOW = dt.datetime.now(dt.UTC)
INSTANT = dt.timedelta(microseconds=1)
FOLDED, UNFOLDED = '<details class="card first-steps">', '<details class="card first-steps" open>'


@pytest.fixture(autouse=True)
def _the_clock_stands_still(monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: NOW + INSTANT)


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_it_shows_balance_spend_and_tokens(alice):
    key, _ = make_key(alice, name="laptop")
    make_request(
        alice.credit_account,
        NOW,
        cost_nano=123_456_789,
        model="llama",
        prompt_tokens=1200,
        completion_tokens=34,
        key=key,
    )
    text = signed_in(alice).get(URL).text
    for shown in ("$10.00", "$0.123456789", "1,234", "llama", "laptop"):
        assert shown in text


def test_it_says_whose_fault_it_was_where_one_failed(alice):
    make_request(alice.credit_account, NOW, outcome="refused", status=429)
    assert signed_in(alice).get(URL).context["failures"] == [("A limit was reached", 1)]


@pytest.mark.parametrize(
    ("chosen", "requests", "points"), [("24h", 1, 24), ("7d", 2, 7), ("30d", 3, 30), ("odd", 2, 7)]
)
def test_a_range_holds_its_requests(chosen, requests, points, alice):
    for days in (0, 6, 29):
        make_request(alice.credit_account, NOW - dt.timedelta(days=days))
    page = signed_in(alice).get(URL, {"range": chosen})
    assert page.context["total"].requests == requests
    assert {len(chart.slots) for chart in page.context["charts"]} == {points}


def test_a_range_of_days_begins_at_midnight_where_the_person_is():
    until = dt.datetime(2026, 3, 30, 10, 20, tzinfo=dt.UTC)
    assert start_of("24h", until) == dt.datetime(2026, 3, 29, 11, tzinfo=dt.UTC)
    with timezone.override(zoneinfo.ZoneInfo("Europe/Berlin")):  # Summer time began on the 29th.
        assert start_of("7d", until) == dt.datetime(2026, 3, 23, 23, tzinfo=dt.UTC)


def test_the_first_steps_stand_open_until_the_first_request(alice):
    client = signed_in(alice)
    assert UNFOLDED in client.get(URL).text
    make_request(alice.credit_account, NOW - dt.timedelta(days=400))
    assert FOLDED in client.get(URL).text


def test_the_snippets_name_the_address_that_was_asked_and_a_model_that_works(alice):
    evidence = {"retention": "none", "retention_evidence_date": NOW.date()}
    make_route("a-llama", provider=make_provider("stating", **evidence))
    make_route("gpt-oss-20b", provider=make_provider("silent"))
    client = signed_in(alice)
    page = client.get(URL, headers={"host": "localhost:8001"}).text
    assert "curl http://localhost:8001/v1/chat/completions" in page
    assert "&quot;model&quot;: &quot;a-llama&quot;" in page
    alice.provider_choice = "stored"
    alice.save()
    assert "&quot;model&quot;: &quot;fast&quot;" in client.get(URL).text


def test_the_balance_can_be_asked_for_alone(alice):
    client = signed_in(alice)
    assert 'hx-get="/dashboard/balance" hx-trigger="every 10s"' in client.get(URL).text
    CreditAccount.objects.filter(user=alice).update(held_nano=USD // 2)
    fragment = client.get("/dashboard/balance").text
    assert "$10.00" in fragment
    assert "$0.50 set aside" in fragment
    assert "<html" not in fragment


def test_more_models_take_no_more_queries(alice):
    client = signed_in(alice)
    make_request(alice.credit_account, NOW, key=make_key(alice)[0])
    client.get(URL)
    with CaptureQueriesContext(connection) as few:
        client.get(URL)
    for number in range(12):
        key, _ = make_key(alice)
        make_request(alice.credit_account, NOW, model=f"model {number}", key=key)
    with CaptureQueriesContext(connection) as many:
        client.get(URL)
    assert len(many) == len(few)


def test_nothing_of_alices_is_on_bobs(alice, bob):
    key, _ = make_key(alice, name="alices key")
    make_request(alice.credit_account, NOW, model="alices-model", cost_nano=7, key=key)
    page = signed_in(bob).get(URL).text
    assert "alices" not in page
    assert "$10.00" not in page
    assert "$0.000000007" not in page


def test_strangers_are_sent_to_sign_in(books):
    assert Client().get(URL).status_code == 302
    part = Client().get("/dashboard/balance", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Refresh"]) == (401, "true")


@pytest.mark.parametrize("path", [URL, "/dashboard/balance"])
def test_nothing_is_posted(path, alice):
    assert signed_in(alice).post(path).status_code == 405
