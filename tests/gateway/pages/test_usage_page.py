"""The usage page and its CSV: what the ledger says, to the nano-dollar, and nobody else's."""

import csv
import datetime as dt
import io
import zoneinfo
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from billing.models import LedgerEntry
from billing.templatetags.money import usd
from gateway.analytics import usage
from gateway.commits.now import commit_now
from gateway.database import next_part
from gateway.models.log import older
from gateway.pages import usage_lines
from gateway.serving.sessions import hash_of
from tests.support.books import hold
from tests.support.factories import (
    make_account,
    make_key,
    make_price,
    make_request,
    make_settle,
    make_user,
)
from tests.support.query_plans import Sorting, plan_of, sorting

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(autouse=True)
def _the_clock_stands_still(monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def signed_in(user, zone: str = "UTC") -> Client:
    client = Client()
    client.force_login(user)
    client.cookies["timezone"] = zone
    return client


def settle(account, cost_nano: int, **fields) -> None:
    """A request that went through the books."""
    key = fields.pop("key", None)
    reserve = hold(account, make_price(), cost_nano + 5, key=key, now=NOW)
    commit_now([make_settle(reserve, cost_nano, **fields)])


def csv_rows(response) -> list[dict]:
    text = b"".join(response.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text)))


def ledger_nano(account) -> int:
    return -sum(one.amount_nano for one in account.entries.filter(kind=LedgerEntry.Kind.USAGE))


# --- Sums ----------------------------------------------------------------------------------------


def test_the_sum_of_the_page_and_of_the_csv_is_the_ledgers(alice):
    account = alice.credit_account
    key, _ = make_key(alice)
    for cost_nano in (1, 999_999_999, 123_456_789, 7):
        settle(account, cost_nano, model="llama", provider="groq", key=key)
    client = signed_in(alice)
    page = client.get("/usage")
    assert page.context["total"].cost_nano == ledger_nano(account) == 1_123_456_796
    assert "$1.123456796" in page.text
    for breakdown in page.context["breakdowns"]:
        assert sum(one.cost_nano for _, one in breakdown.rows) == 1_123_456_796
    rows = csv_rows(client.get("/usage.csv"))
    assert sum(int(row["cost_nano"]) for row in rows) == 1_123_456_796
    assert "0.000000007" in [row["cost_usd"] for row in rows]


@pytest.mark.parametrize(
    ("name", "value", "wanted", "unwanted"),
    [
        ("model", "one", {"model": "one"}, {"model": "two"}),
        ("provider", "one", {"provider": "one"}, {"provider": "two"}),
        ("status", "ok", {}, {"outcome": "upstream-failed", "status": 502}),
    ],
)
def test_a_filter_leaves_what_it_names(name, value, wanted, unwanted, alice):
    row = make_request(alice.credit_account, NOW, cost_nano=3, **wanted)
    make_request(alice.credit_account, NOW, cost_nano=4, **unwanted)
    client = signed_in(alice)
    assert client.get("/usage", {name: value}).context["total"].cost_nano == 3
    assert [one["id"] for one in csv_rows(client.get("/usage.csv", {name: value}))] == [str(row.id)]


def test_the_key_and_the_session_filter_too(alice):
    account = alice.credit_account
    key, _ = make_key(alice, name="mine")
    named = hash_of("thread 7", account.id.hex)
    make_request(account, NOW, cost_nano=3, key=key)
    make_request(account, NOW, cost_nano=4, session_hash=named)
    client = signed_in(alice)
    assert client.get("/usage", {"key": key.id}).context["total"].cost_nano == 3
    assert client.get("/usage", {"session": "thread 7"}).context["total"].cost_nano == 4


def test_days_are_those_of_the_persons_zone(alice):
    make_request(alice.credit_account, dt.datetime(2026, 3, 4, 20, tzinfo=dt.UTC), cost_nano=3)
    days = {"since": "2026-03-05", "until": "2026-03-05"}
    assert signed_in(alice, "Asia/Tokyo").get("/usage", days).context["total"].cost_nano == 3
    assert signed_in(alice).get("/usage", days).context["total"].cost_nano == 0


def test_without_days_it_is_the_last_thirty(alice):
    make_request(alice.credit_account, NOW - dt.timedelta(days=29), cost_nano=3)
    make_request(alice.credit_account, NOW - dt.timedelta(days=31), cost_nano=4)
    assert signed_in(alice).get("/usage").context["total"].cost_nano == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"since": "2026-03-05", "until": "2026-03-04"}, "lies before the first"),
        ({"since": "2020-01-01", "until": "2026-03-04"}, "at most 366 days"),
        ({"since": "soon"}, "Enter a valid date"),
        ({"status": "odd"}, "There is no such status: choose one of the list."),
        ({"key": "odd"}, "This account has no such key: choose one of the list."),
    ],
)
def test_filters_that_make_no_sense_are_named(wrong, message, alice):
    client = signed_in(alice)
    assert message in client.get("/usage", wrong).text
    answer = client.get("/usage.csv", wrong)
    assert answer.status_code == 400
    assert message in answer.text


def test_more_models_take_no_more_queries(alice):
    make_request(alice.credit_account, NOW, model="model 0", key=make_key(alice)[0])
    client = signed_in(alice)
    client.get("/usage")
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get("/usage")
    for number in range(12):
        key, _ = make_key(alice)
        make_request(alice.credit_account, NOW, model=f"model {number}", key=key)
    with CaptureQueriesContext(connection) as many:
        client.get("/usage")
    assert len(many) == len(few)


def test_a_report_says_what_its_parts_say(alice):
    account = alice.credit_account
    keys = [make_key(alice)[0], None]
    for number in range(12):
        make_request(
            account,
            NOW - dt.timedelta(hours=11 * number),
            model=f"model {number % 3}",
            provider=f"provider {number % 2}",
            key=keys[number % 2],
            cost_nano=number,
            prompt_tokens=10**number,
            status=(200, 429)[number % 2],
            outcome=("finished", "refused")[number % 2],
            latency_ms=1 + number * 100,
        )
    wanted = usage.Filter(
        account_id=account.id, since=NOW - dt.timedelta(days=4), until=NOW + dt.timedelta(hours=1)
    )
    for zone in (dt.UTC, zoneinfo.ZoneInfo("Asia/Kolkata")):
        assert usage.report(wanted, zone=zone) == usage.Report(
            total=usage.total(wanted),
            errors_by_class=usage.errors_by_class(wanted),
            over_time=usage.over_time(wanted, zone=zone),
            by_model=usage.by_model(wanted),
            by_provider=usage.by_provider(wanted),
            by_key=usage.by_key(wanted),
        )


# --- Who -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/usage", "/usage.csv"])
def test_strangers_are_sent_to_sign_in_and_nothing_is_posted(path, alice):
    assert Client().get(path).status_code == 302
    assert signed_in(alice).post(path).status_code == 405


def test_nothing_of_alices_is_on_bobs(alice, bob):
    key, _ = make_key(alice, name="alices key")
    make_request(alice.credit_account, NOW, model="alices-model", cost_nano=3, key=key)
    for parameters in ({}, {"key": key.id}, {"model": "alices-model"}):
        page = signed_in(bob).get("/usage", parameters)
        assert "alices key" not in page.text
        assert "$0.000000003" not in page.text
        lines = signed_in(bob).get("/usage.csv", parameters)
        assert lines.status_code == 400 or csv_rows(lines) == []


def test_an_account_without_requests_is_told_where_to_begin(bob):
    page = signed_in(bob).get("/usage")
    assert "No request in these days" in page.text
    assert "First steps" in page.text
    assert "CSV" not in page.text


# --- CSV -----------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_no_text_begins_a_formula(text):
    cell = usage_lines.safe(text)
    assert not cell.startswith(usage_lines.BEGINS_A_FORMULA)
    assert cell in (text, f"'{text}")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a"b,c\nd'])
def test_a_hostile_name_stays_one_harmless_cell(name, alice):
    key, _ = make_key(alice, name=name)
    make_request(alice.credit_account, NOW, key=key)
    (row,) = csv_rows(signed_in(alice).get("/usage.csv"))
    assert row["key_name"] == usage_lines.safe(name)
    assert row["status"] == "200"


def test_lines_come_newest_first_and_each_once(alice, monkeypatch):
    monkeypatch.setattr(usage_lines, "PART", 2)
    rows = [make_request(alice.credit_account, NOW - dt.timedelta(minutes=age)) for age in range(5)]
    lines = csv_rows(signed_in(alice).get("/usage.csv"))
    assert [one["id"] for one in lines] == [str(row.id) for row in rows]


def test_a_part_is_read_as_the_index_goes(alice):
    """Sorted anew for each part, the file of a large account would take minutes."""
    row = make_request(alice.credit_account, NOW)
    days = {"since": NOW - dt.timedelta(days=30), "until": NOW + dt.timedelta(days=1)}
    lines = usage.lines(usage.Filter(account_id=alice.credit_account.id, **days))
    for part in (lines, older(lines, row.created_at, row.id)):
        plan = plan_of(*part[:10].query.sql_with_params())
        assert "requests_of_account" in plan
        assert sorting(plan) == Sorting.TIES, plan


def test_a_part_is_read_only_when_it_is_asked_for(alice, monkeypatch):
    monkeypatch.setattr(usage_lines, "PART", 2)
    for _ in range(5):
        make_request(alice.credit_account, NOW)
    wanted = usage.Filter(
        account_id=alice.credit_account.id, since=NOW, until=NOW + dt.timedelta(days=1)
    )
    parts = usage_lines.csv_parts(usage.lines(wanted))
    with CaptureQueriesContext(connection) as queries:
        counts = [len(queries) for _ in parts]
    assert counts == [0, 1, 2, 3]


def test_under_asgi_the_lines_are_streamed(alice):
    make_request(alice.credit_account, NOW, cost_nano=3)

    async def download() -> str:
        client = AsyncClient()
        await client.aforce_login(alice)
        response = await client.get("/usage.csv")
        assert response.is_async
        return b"".join([part async for part in response.streaming_content]).decode()

    (row,) = csv.DictReader(io.StringIO(async_to_sync(download)()))
    assert row["cost_usd"] == "0.000000003"


# --- Money for people ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (500_000_000, "$0.50"),
        (1_234_567_000_000_000, "$1,234,567.00"),
        (-1_500, "−$0.0000015"),
    ],
)
def test_dollars_are_exact_and_have_cents(nano, text):
    assert usd(nano) == text


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("path", ["/usage", "/usage.csv", "/requests"])
@pytest.mark.parametrize("day", ["0001-01-01", "1999-12-31", "3000-01-01", "9999-12-31"])
def test_a_day_at_the_end_of_the_calendar_is_refused(alice, path, day, zone):
    response = signed_in(alice, zone).get(path, {"since": day, "until": day})
    assert response.status_code == (200 if path == "/usage" else 400)
    assert "Ensure this value is" in response.text


@pytest.mark.parametrize("day", ["2000-01-01", "2999-12-31"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_every_other_day_can_be_asked_for(alice, day, zone):
    client = signed_in(alice, zone)
    for path in ("/usage", "/usage.csv", "/requests"):
        assert client.get(path, {"since": day, "until": day}).status_code == 200


def test_who_reads_the_csv_slowly_keeps_no_connection(committed):
    account = make_account(make_user())
    make_request(account, NOW)
    after = NOW + dt.timedelta(days=1)
    lines = usage.lines(usage.Filter(account_id=account.id, since=NOW, until=after))

    def read() -> tuple[list[str | None], bool]:
        parts = usage_lines.csv_parts(lines)
        told = [next_part(parts), next_part(parts)]
        return told, connection.connection is None

    with ThreadPoolExecutor(1) as thread:
        (header, rows), is_given_back = thread.submit(read).result()
    assert header.startswith("id,")
    assert rows
    assert is_given_back
