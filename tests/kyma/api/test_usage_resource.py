"""Usage and requests at /api/: sums that equal the lines, filters, and what a request said."""

import datetime as dt

import pytest

from gateway.models import RequestContent
from gateway.serving.sessions import hash_of
from tests.support.api_client import by_key, signed_in
from tests.support.api_things import MODEL, SAID, Things
from tests.support.factories import make_key, make_request

pytestmark = pytest.mark.usefixtures("books")
NOON = dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC)
RANGE = "since=2026-03-27T00:00:00Z&until=2026-03-31T00:00:00Z"


@pytest.fixture
def key(alice):
    return make_key(alice, name="batch")[0]


@pytest.fixture
def rows(alice, bob, key):
    account = alice.credit_account
    make_request(bob.credit_account, NOON, model="llama", cost_nano=999)
    return [
        make_request(account, NOON, model="llama", provider="one", cost_nano=30, key=key),
        make_request(
            account, NOON + dt.timedelta(hours=1), model="llama", provider="two", cost_nano=5
        ),
        make_request(
            account,
            NOON + dt.timedelta(days=1),
            model="qwen",
            provider="one",
            cost_nano=7,
            prompt_tokens=11,
            session_hash=hash_of("abc", account.id.hex),
        ),
        make_request(account, NOON, model="qwen", status=400, outcome="refused"),
    ]


def usage(person, path: str = "", query: str = "") -> dict:
    answer = signed_in(person).get(f"/api/usage{path}?{RANGE}{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_the_total_is_of_the_range_and_the_account(alice, rows):
    told = usage(alice)
    assert (told["requests"], told["errors"], told["prompt_tokens"]) == (4, 1, 11)
    assert told["cost"] == {"usd": "0.000000042", "nano": 42}
    assert told["errors_by_class"]["caller"] == 1
    assert (told["since"], told["until"]) == ("2026-03-27T00:00:00Z", "2026-03-31T00:00:00Z")


@pytest.mark.parametrize(
    ("query", "nano"),
    [
        ("&model=llama", 35),
        ("&provider=one", 37),
        ("&status=ok", 42),
        ("&status=error", 0),
        ("&session=abc", 7),
        ("&model=llama&provider=two", 5),
        ("&model=nowhere", 0),
    ],
)
def test_filters_narrow_sums_and_lines_alike(query, nano, alice, rows):
    assert usage(alice, query=query)["cost"]["nano"] == nano
    lines = usage(alice, "/lines", query)["data"]
    assert sum(one["cost"]["nano"] for one in lines) == nano
    periods = usage(alice, "/over-time", query)["data"]
    assert sum(one["cost"]["nano"] for one in periods) == nano


def test_a_key_filters_and_names_its_share(alice, rows, key):
    assert usage(alice, query=f"&key={key.id}")["cost"]["nano"] == 30
    dearest, other = usage(alice, "/breakdown", "&by=key")["data"]
    assert (dearest["name"], dearest["key_id"]) == ("batch", str(key.id))
    assert (other["name"], other["key_id"], other["cost"]["nano"]) == ("", None, 12)


@pytest.mark.parametrize(
    ("by", "shares"), [("model", {"llama": 35, "qwen": 7}), ("provider", {"one": 37, "two": 5})]
)
def test_shares_add_up(by, shares, alice, rows):
    told = usage(alice, "/breakdown", f"&by={by}")["data"]
    found = {one["name"]: one["cost"]["nano"] for one in told if one["cost"]["nano"]}
    assert found == shares
    assert [one["name"] for one in told][: len(shares)] == list(shares)


def test_days_are_those_of_the_zone(alice, rows):
    told = usage(alice, "/over-time", "&zone=Europe/Oslo")["data"]
    starts = [one["start"] for one in told]
    # Clocks go forward on the 29th.
    assert starts[1:4] == ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]


def test_lines_come_in_pages(alice, rows):
    first = usage(alice, "/lines", "&limit=3")
    rest = usage(alice, "/lines", f"&limit=3&cursor={first['next_cursor']}")
    told = [one["id"] for one in first["data"] + rest["data"]]
    assert sorted(told) == sorted(str(row.id) for row in rows)
    assert (len(first["data"]), rest["next_cursor"]) == (3, None)


def test_without_a_range_it_is_the_last_thirty_days(alice):
    make_request(alice.credit_account, cost_nano=3)
    told = signed_in(alice).get("/api/usage").json()
    since, until = (dt.datetime.fromisoformat(told[name]) for name in ("since", "until"))
    assert until - since == dt.timedelta(days=30)
    assert told["cost"]["nano"] == 3


@pytest.mark.parametrize("day", ["2000-01-01", "2999-12-31"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_any_day_can_be_asked_for_in_any_zone(alice, day, zone):
    client = signed_in(alice)
    for since in ("T00:00:00Z", "T23:30:00Z"):
        query = f"zone={zone}&since={day}{since}&until={day}T23:59:59Z"
        assert client.get(f"/api/usage/over-time?{query}").status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("since=2020-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("since=yesterday", "since"),
        ("until=0001-01-01T00:00:00Z", "until"),
        ("until=9999-12-31T23:59:59Z&since=2999-12-31T00:00:00Z", "until"),
        ("since=0001-01-01T00:00:00Z&until=2000-01-01T00:00:00Z", "since"),
        ("status=maybe", "status"),
        ("key=x", "key"),
        ("modle=llama", "modle"),
    ],
)
def test_a_query_that_means_nothing_is_refused(query, field, alice):
    answer = signed_in(alice).get(f"/api/usage?{query}")
    assert answer.status_code == 400
    assert field in [one["field"] for one in answer.json()["errors"]]


@pytest.mark.parametrize("zone", ["Mars", "", "../etc/passwd"])
def test_a_zone_must_exist(zone, alice):
    assert signed_in(alice).get(f"/api/usage/over-time?zone={zone}").status_code == 400


# --- Requests ------------------------------------------------------------------------------------


def test_a_request_says_what_it_cost_and_who_was_tried(alice):
    row = Things(alice).request
    told = signed_in(alice).get(f"/api/requests/{row.id}").json()
    assert (told["model"], told["key_id"], told["outcome"]) == (MODEL, str(row.key_id), "finished")
    assert told["cost"]["nano"] == 3000
    assert told["cost_lines"]["input"]["nano"] == 1000
    assert told["cost_lines"]["output"]["nano"] == 2000
    assert told["cost_lines"]["price_version"] == str(row.price_version_id)
    attempt = {"provider": "somebody", "status": 200, "ms": 12.5, "error": None}
    assert told["attempts"] == [attempt]


def test_the_log_is_filtered_by_key_model_and_outcome(alice, rows, key):
    client = signed_in(alice)
    for query, wanted in [
        ("", [*rows]),
        (f"key={key.id}", rows[:1]),
        ("model=qwen", rows[2:]),
        ("outcome=refused", rows[3:]),
    ]:
        told = client.get(f"/api/requests?{query}").json()["data"]
        assert {one["id"] for one in told} == {str(row.id) for row in wanted}


def test_what_a_request_said_is_there_until_its_owner_deletes_it(alice):
    row = Things(alice).request
    client = signed_in(alice)
    answer = client.get(f"/api/requests/{row.id}/content")
    told = answer.json()
    assert told.pop("kept_until").endswith("Z")
    assert told == {**SAID, "user_agent": "curl"}
    assert answer["Cache-Control"] == "no-store"
    assert client.delete(f"/api/requests/{row.id}/content").status_code == 204
    assert client.get(f"/api/requests/{row.id}/content").status_code == 404
    assert client.get(f"/api/requests/{row.id}").status_code == 200


def test_all_content_is_deleted_at_once_and_only_ones_own(alice, bob):
    mine, others = Things(alice).request, Things(bob).request
    assert by_key(alice, scopes=["privacy"]).delete("/api/requests/content").status_code == 204
    assert set(RequestContent.objects.values_list("id", flat=True)) == {others.id}
    assert signed_in(alice).get(f"/api/requests/{mine.id}").status_code == 200
