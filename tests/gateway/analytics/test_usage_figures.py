"""What pages and API are told about the usage of one account."""

import dataclasses
import datetime as dt
import zoneinfo

import pytest

from gateway.analytics import usage
from gateway.analytics.usage import Filter
from tests.support.factories import make_key, make_request, make_route

UTC = dt.UTC
NOON = dt.datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.fixture
def account(alice):
    return alice.credit_account


def the_day(account, **fields) -> Filter:
    midnight = NOON.replace(hour=0)
    return Filter(
        **{"account_id": account.id, "since": midnight, "until": midnight + DAY, **fields}
    )


def test_nothing_used_is_zero(account):
    figures = usage.total(the_day(account))
    assert (figures.requests, figures.errors, figures.cost_nano) == (0, 0, 0)
    assert (figures.latency_p50_ms, figures.first_token_p50_ms) == (None, None)
    assert usage.by_model(the_day(account)) == []


def test_a_total_adds_up_tokens_and_cost(account):
    for number in (1, 2, 3):
        make_request(
            account,
            NOON,
            prompt_tokens=10 * number,
            cached_tokens=number,
            completion_tokens=5,
            reasoning_tokens=2,
            cost_nano=number,
        )
    figures = usage.total(the_day(account))
    assert (figures.requests, figures.errors, figures.cost_nano) == (3, 0, 6)
    assert (figures.prompt_tokens, figures.cached_tokens) == (60, 6)
    assert (figures.completion_tokens, figures.reasoning_tokens) == (15, 6)


def test_a_range_begins_with_its_start_and_ends_before_its_end(account):
    day = the_day(account)
    for at in (day.since, day.until - dt.timedelta(microseconds=1)):
        make_request(account, at)
    for at in (day.since - dt.timedelta(microseconds=1), day.until):
        make_request(account, at)
    assert usage.total(day).requests == 2


def test_what_another_account_used_is_not_shown(account, bob):
    make_request(bob.credit_account, NOON, cost_nano=7)
    assert usage.total(the_day(account)).requests == 0
    assert not usage.lines(the_day(account)).exists()


def test_reads_are_no_usage(account):
    make_request(account, NOON, api="models")
    assert usage.total(the_day(account)).requests == 0


FAILED = {
    "caller": {"outcome": "refused", "status": 400},
    "limited": {"outcome": "refused", "status": 429},
    "provider": {"outcome": "upstream-failed", "status": 429},
    "kyma": {"outcome": "kyma-failed", "status": 200},
    "gone": {"outcome": "client-gone", "status": 499},
}


@pytest.mark.parametrize("name", FAILED)
def test_an_error_counts_in_its_class(account, name):
    make_request(account, NOON)
    make_request(account, NOON, **FAILED[name])
    assert usage.total(the_day(account)).errors == 1
    classes = usage.errors_by_class(the_day(account))
    assert classes == {**dict.fromkeys(FAILED, 0), name: 1}
    assert usage.total(the_day(account, status="error")).requests == 1
    assert usage.total(the_day(account, status="ok")).requests == 1


GOOD = {
    "finished": {},
    "replayed": {"outcome": "replayed"},
    "stopped by the client": {"outcome": "client-gone"},
}
BAD = {
    **FAILED,
    "declined": {"outcome": "upstream-failed", "status": 400},
    "broken off": {"outcome": "upstream-failed"},
    "empty": {"outcome": "empty"},
    "lost": {"outcome": "lost", "status": 0, "api": ""},
    "no database": {"outcome": "refused", "status": 503},
}


def test_rows_and_sums_agree_on_what_is_an_error(account):
    for fields in (*GOOD.values(), *BAD.values()):
        make_request(account, NOON, **fields)
    assert usage.total(the_day(account)).errors == len(BAD)
    assert usage.lines(the_day(account, status="error")).count() == len(BAD)
    assert usage.lines(the_day(account, status="ok")).count() == len(GOOD)


def test_models_are_told_apart_the_dearest_first(account):
    for model, cost in (("a", 1), ("b", 5), ("a", 2)):
        make_request(account, NOON, model=model, cost_nano=cost)
    found = [
        (label, one.requests, one.cost_nano) for label, one in usage.by_model(the_day(account))
    ]
    assert found == [("b", 1, 5), ("a", 2, 3)]


def test_keys_are_told_apart(account, alice):
    key, _ = make_key(alice)
    make_request(account, NOON, key=key, cost_nano=4)
    make_request(account, NOON, cost_nano=1)
    found = [(label, one.cost_nano) for label, one in usage.by_key(the_day(account))]
    assert found == [(key, 4), (None, 1)]


@pytest.mark.parametrize("name", ["model", "provider", "session", "key_id"])
def test_a_filter_leaves_only_what_it_names(account, alice, name):
    key, _ = make_key(alice)
    make_request(account, NOON, cost_nano=1)
    make_request(account, NOON, model="m", provider="p", session_hash="s", key=key, cost_nano=2)
    value = {"model": "m", "provider": "p", "session": "s", "key_id": key.id}[name]
    assert usage.total(the_day(account, **{name: value})).cost_nano == 2


def test_providers_are_told_apart(account):
    make_request(account, NOON, route=make_route(), provider="p", cost_nano=2)
    assert [label for label, _ in usage.by_provider(the_day(account))] == ["p"]


def test_lines_come_newest_first(account):
    rows = [make_request(account, NOON + HOUR * number) for number in range(3)]
    assert list(usage.lines(the_day(account))) == rows[::-1]


# --- Over time -----------------------------------------------------------------------------------


def test_a_day_is_told_by_the_hour_without_gaps(account):
    make_request(account, NOON, cost_nano=3)
    found = usage.over_time(the_day(account), zone=UTC)
    assert [start.hour for start, _ in found] == list(range(24))
    assert [one.cost_nano for _, one in found] == [0] * 12 + [3] + [0] * 11


@pytest.mark.parametrize("name", ["UTC", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"])
def test_a_month_is_told_by_the_days_of_the_zone(account, name):
    zone = zoneinfo.ZoneInfo(name)
    since = dt.datetime(2026, 3, 1, tzinfo=zone)
    month = the_day(account, since=since, until=dt.datetime(2026, 4, 1, tzinfo=zone))
    last_minute = dt.datetime(2026, 3, 8, 23, 59, tzinfo=zone)
    make_request(account, last_minute.astimezone(UTC), cost_nano=1)
    make_request(account, (last_minute + HOUR).astimezone(UTC), cost_nano=2)
    found = usage.over_time(month, zone=zone)
    assert [start.day for start, _ in found] == list(range(1, 32))
    assert {start.strftime("%H:%M") for start, _ in found} == {"00:00"}
    assert {start.day: one.cost_nano for start, one in found if one.requests} == {8: 1, 9: 2}


def test_an_empty_range_has_no_periods(account):
    day = the_day(account)
    assert usage.over_time(dataclasses.replace(day, until=day.since), zone=UTC) == []
    assert usage.total(dataclasses.replace(day, until=day.since)).requests == 0


def test_any_range_can_be_asked_for(account):
    make_request(account, NOON, cost_nano=1)
    forever = the_day(
        account,
        since=dt.datetime.min.replace(tzinfo=UTC),
        until=dt.datetime.max.replace(tzinfo=UTC),
    )
    assert usage.total(forever).cost_nano == 1


# --- Times ---------------------------------------------------------------------------------------


def test_percentiles_are_right_within_five_percent(account):
    for number in range(1, 101):
        make_request(account, NOON, streamed=True, first_token_ms=number, latency_ms=number * 10)
    figures = usage.total(the_day(account))
    assert figures.latency_p50_ms == pytest.approx(500, rel=0.05)
    assert figures.latency_p95_ms == pytest.approx(950, rel=0.05)
    assert figures.first_token_p50_ms == pytest.approx(50, rel=0.05)


def test_only_finished_answers_have_a_latency_and_only_streams_a_first_token(account):
    make_request(account, NOON, outcome="refused", status=400, latency_ms=1)
    make_request(account, NOON, latency_ms=100, first_token_ms=100)
    figures = usage.total(the_day(account))
    assert figures.latency_p95_ms == pytest.approx(100, rel=0.05)
    assert figures.first_token_p50_ms is None
