"""The rollups say what the log says, to the nano-dollar, however often and late they are made."""

import datetime as dt
import io
import random
import threading
import zoneinfo

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import LedgerEntry
from gateway import tasks
from gateway.analytics import rollups, usage
from gateway.analytics.periods import DAY, HOUR
from gateway.analytics.usage import Filter
from gateway.commits.now import commit_now
from gateway.models import (
    ApiRequest,
    RollupState,
    ServiceDay,
    ServiceHour,
    UsageDay,
    UsageHour,
)
from tests.support.books import hold
from tests.support.factories import (
    make_account,
    make_key,
    make_price,
    make_request,
    make_route,
    make_settle,
)

UTC = dt.UTC
START = dt.datetime(2026, 3, 10, tzinfo=UTC)
MINUTE = dt.timedelta(minutes=1)
STORED = (*rollups.KIND, *rollups.tally.STORED)


@pytest.fixture
def account(alice):
    return alice.credit_account


def rows_of(model) -> list[tuple]:
    """All that the rollups hold, without the ids of their rows."""
    names = [field.attname for field in model._meta.fields if field.name != "id"]
    return sorted(map(str, model.objects.values_list(*names)))


def everything() -> list:
    return [rows_of(model) for model in (UsageHour, UsageDay, ServiceHour, ServiceDay)]


def make_requests(accounts, count: int, *, since=START, within=3 * DAY, seed: int = 1) -> None:
    """Requests at random, of all kinds."""
    draw = random.Random(seed)
    routes = [make_route(), make_route(), None]
    keys = {account.id: [make_key(account.user)[0], None] for account in accounts}
    for _ in range(count):
        account, route = draw.choice(accounts), draw.choice(routes)
        fields = (
            {}
            if route is None
            else {
                "route": route,
                "model": route.model.slug,
                "provider": route.provider.slug,
                "attempts": [{"route": route.id.hex, "provider": "p", "status": 200, "ms": 7.5}],
            }
        )
        make_request(
            account,
            since + within * draw.random(),
            key=draw.choice(keys[account.id]),
            cost_nano=draw.randrange(10**9),
            prompt_tokens=draw.randrange(1000),
            completion_tokens=draw.randrange(1000),
            streamed=draw.random() < 0.5,
            first_token_ms=draw.random() * 1000,
            latency_ms=1000 + draw.random() * 10_000,
            outcome=draw.choice(["finished", "finished", "upstream-failed", "client-gone"]),
            **fields,
        )


# --- What is folded ------------------------------------------------------------------------------


def test_an_hour_is_final_a_while_after_its_end(account):
    make_request(account, START, cost_nano=5)
    first = START - HOUR
    rollups.fold(START + MINUTE)
    assert rollups.final_until() == first
    rollups.fold(START + HOUR + rollups.FINAL_AFTER - MINUTE)
    assert not UsageHour.objects.exists()
    rollups.fold(START + HOUR + rollups.FINAL_AFTER)
    assert rollups.final_until() == START + HOUR
    assert UsageHour.objects.get(start=START).cost_nano == 5


def test_an_hour_is_not_final_while_a_request_of_it_runs(account):
    reserve = hold(account, make_price(), now=dt.datetime.now(UTC))
    came_in = reserve.now.replace(minute=0, second=0, microsecond=0)
    later = reserve.now + 5 * HOUR
    rollups.fold(later)
    assert rollups.final_until() <= came_in
    commit_now([make_settle(reserve, 100)])
    rollups.fold(later)
    assert rollups.final_until() > came_in
    assert UsageHour.objects.get(start=came_in).cost_nano == 100


def test_without_a_request_there_is_nothing_to_fold(books):
    rollups.fold(START)
    assert everything() == [[], [], [], []]
    assert rollups.final_until() <= START - HOUR


def test_a_request_that_runs_while_the_first_fold_comes_is_not_lost(account):
    """Its row is written after the fold, with a time before it."""
    rollups.fold(START)
    make_request(account, START - 11 * MINUTE, cost_nano=3)
    rollups.fold(START + DAY)
    assert UsageHour.objects.get().cost_nano == 3


def test_reads_are_not_folded(account):
    make_request(account, START, api="balance")
    rollups.fold(START + DAY)
    assert not UsageHour.objects.exists()


def test_a_day_is_the_sum_of_its_hours(account):
    make_requests([account], 40, within=DAY)
    rollups.fold(START + 2 * DAY)
    for name in (*rollups.tally._SUMS, "errors_provider"):
        hours = UsageHour.objects.aggregate(sum=Sum(name))["sum"]
        assert hours == UsageDay.objects.filter(start=START).aggregate(sum=Sum(name))["sum"]
    served = ServiceHour.objects.aggregate(sum=Sum("attempts"))["sum"]
    assert served == ServiceDay.objects.aggregate(sum=Sum("attempts"))["sum"] > 0


def test_a_day_that_is_not_over_is_not_folded(account):
    make_requests([account], 10, within=DAY)
    rollups.fold(START + 20 * HOUR)
    assert UsageHour.objects.exists()
    assert not UsageDay.objects.exists()


# --- Again, late and anew ------------------------------------------------------------------------


def test_folding_again_changes_nothing(account):
    make_requests([account], 60)
    now = START + 3 * DAY + 3 * HOUR
    assert rollups.fold(now) > 70
    before = everything()
    assert rollups.fold(now) == 0
    assert rollups.fold_late(now) == 0
    assert everything() == before


def test_a_rebuild_gives_the_same_numbers(account, bob):
    make_requests([account, bob.credit_account], 60)
    now = START + 3 * DAY + 3 * HOUR
    rollups.fold(now)
    before = everything()
    rollups.rebuild(now)
    assert everything() == before
    for model in (UsageHour, UsageDay, ServiceHour, ServiceDay, RollupState):
        model.objects.all().delete()
    rollups.rebuild(now)
    assert everything() == before


def test_a_rebuild_forgets_what_the_log_has_no_more(account):
    make_requests([account], 20)
    rollups.fold(START + 4 * DAY)
    ApiRequest.objects.all().delete()
    rollups.rebuild(START + 4 * DAY)
    assert everything() == [[], [], [], []]


def test_a_command_rebuilds(account):
    make_request(account, dt.datetime.now(UTC) - 3 * HOUR, cost_nano=1)
    out = io.StringIO()
    call_command("rebuild_rollups", stdout=out)
    assert out.getvalue().startswith("folded ")
    assert UsageHour.objects.get().cost_nano == 1


def test_late_rows_are_folded_in(account):
    make_requests([account], 30, within=DAY)
    now = START + DAY + 3 * HOUR
    rollups.fold(now)
    make_request(account, START + 5 * HOUR, outcome="refused", status=400)
    make_request(account, START + DAY, cost_nano=7)
    assert rollups.fold_late(now) == 2
    after = everything()
    assert UsageDay.objects.aggregate(sum=Sum("requests"))["sum"] == 31
    rollups.rebuild(now)
    assert everything() == after


def test_a_charge_that_is_given_back_late_is_folded_in(account):
    row = make_request(account, START, cost_nano=7)
    now = START + DAY + 3 * HOUR
    rollups.fold(now)
    ApiRequest.objects.filter(pk=row.pk).update(outcome="lost", cost_nano=0)
    assert rollups.fold_late(now) == 1
    for model in (UsageHour, UsageDay):
        assert [(one.cost_nano, one.errors_kyma) for one in model.objects.all()] == [(0, 1)]
    assert rollups.fold_late(now) == 0


def test_rows_of_erased_accounts_outlast_a_rebuild(account):
    make_request(account, START, cost_nano=3)
    now = START + 4 * DAY
    rollups.fold(now)
    for model in (UsageHour, UsageDay):
        model.objects.update(account=None, key=None)
    ApiRequest.objects.all().delete()
    rollups.rebuild(now)
    assert rollups.fold_late(now) == 0
    for model in (UsageHour, UsageDay):
        assert [(row.account, row.cost_nano) for row in model.objects.all()] == [(None, 3)]


def test_an_hour_that_is_open_is_folded_for_how_routes_serve_alone(account):
    route = make_route()
    attempts = [{"route": route.id.hex, "provider": "p", "status": 200, "ms": 1.0}]
    for number in (1, 2):
        make_request(account, START, route=route, attempts=attempts)
        rollups.fold(START + number * MINUTE)
        assert ServiceHour.objects.get().attempts == number
    assert not UsageHour.objects.exists()


def test_one_kind_has_one_row_even_where_nothing_is_known(account):
    make_request(account, START)
    rollups.fold(START + DAY)
    row = UsageHour.objects.get()
    row.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()


def test_two_processes_that_fold_at_once_count_once(committed_books):
    account = make_account()
    make_requests([account], 60)
    now, failures = START + 4 * DAY, []

    def work():
        try:
            rollups.fold(now)
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    rollups.fold(now)
    cost = ApiRequest.objects.aggregate(sum=Sum("cost_nano"))["sum"]
    for model in (UsageHour, UsageDay):
        assert model.objects.aggregate(sum=Sum("cost_nano"))["sum"] == cost


def test_jobs_fold(account, caplog):
    caplog.set_level("INFO")
    make_request(account, dt.datetime.now(UTC) - 3 * HOUR)
    tasks.fold_usage()
    tasks.fold_late_usage()
    assert UsageHour.objects.count() == 1
    assert "folded 0 hours with late requests" in caplog.text


# --- The ledger ----------------------------------------------------------------------------------


def test_the_sums_are_those_of_the_ledger(account, alice):
    key, _ = make_key(alice)
    price = make_price()
    draw = random.Random(3)
    for _ in range(40):
        reserve = hold(account, price, 10**7, key=key if draw.random() < 0.5 else None)
        commit_now([make_settle(reserve, draw.randrange(2 * 10**7))])
    now = dt.datetime.now(UTC)
    entries = LedgerEntry.objects.filter(account=account, kind="usage")
    spent = -entries.aggregate(sum=Sum("amount_nano"))["sum"]
    forever = Filter(account_id=account.id, since=now - DAY, until=now + DAY)
    assert usage.total(forever).cost_nano == spent
    rollups.fold(now + 2 * HOUR)
    assert UsageHour.objects.aggregate(sum=Sum("cost_nano"))["sum"] == spent
    assert usage.total(forever).cost_nano == spent
    assert sum(one.cost_nano for _, one in usage.by_key(forever)) == spent


# --- Usage, read from rollups and rows -----------------------------------------------------------

minutes = st.integers(0, 4 * 24 * 60)
requests_made = st.lists(
    st.tuples(minutes, st.integers(0, 10**12), st.sampled_from(["a", "b"]), st.integers(0, 2)),
    max_size=12,
)
ZONES = ("UTC", "Asia/Kolkata", "America/New_York", "Europe/Berlin", "Asia/Tokyo")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests_made, minutes, minutes, minutes, st.sampled_from(ZONES))
def test_usage_is_the_same_whatever_is_folded(account, made, since, until, folded_at, zone):
    """Any range, in any zone, at any progress of the folding: the rows themselves say the same."""
    with transaction.atomic():
        for minute, cost, model, key in made:
            at = START + minute * MINUTE
            status = 200 if key else 400
            outcome = "finished" if key else "refused"
            make_request(
                account,
                at,
                cost_nano=cost,
                model=model,
                status=status,
                outcome=outcome,
                latency_ms=cost % 5000,
            )
        asked = Filter(
            account_id=account.id, since=START + since * MINUTE, until=START + until * MINUTE
        )
        before = everything_about(asked, zone)
        assert before[0].cost_nano == sum(row.cost_nano for row in usage.lines(asked))
        rollups.fold(START + folded_at * MINUTE)
        assert everything_about(asked, zone) == before
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("zone", "moved_hours"),
    [("UTC", 0), ("Europe/Berlin", 1), ("America/New_York", 5), ("Pacific/Auckland", 11)],
)
def test_a_day_of_any_zone_takes_few_hours(account, zone, moved_hours):
    """Winter in the north: Berlin's day begins an hour before UTC's, so one hour is moved."""
    make_requests([account], 30, within=3 * DAY)
    rollups.fold(START + 30 * DAY)
    since = dt.datetime(2026, 1, 10, tzinfo=zoneinfo.ZoneInfo(zone)).astimezone(UTC)
    asked = Filter(account_id=account.id, since=since, until=since + 10 * DAY)
    days = [since + number * DAY for number in range(10)]
    RollupState.objects.update(final_until=since + 30 * DAY)
    found = usage.Sources.of(asked, days)
    assert found.rows == []
    assert sum((end - start for start, end in found.days), 0 * DAY) / DAY == (
        10 if zone == "UTC" else 9
    )
    assert sum((end - start for start, end in found.moved), 0 * DAY) == 9 * moved_hours * HOUR


def everything_about(asked: Filter, zone: str) -> list:
    return [
        usage.total(asked),
        usage.errors_by_class(asked),
        usage.by_model(asked),
        usage.by_provider(asked),
        usage.by_key(asked),
        usage.over_time(asked, zone=zoneinfo.ZoneInfo(zone)),
    ]


def test_a_month_is_read_from_days_and_hours(account, django_assert_num_queries):
    make_requests([account], 30, within=3 * DAY)
    rollups.fold(START + 4 * DAY + HOUR)
    month = Filter(account_id=account.id, since=START - 20 * DAY, until=START + 10 * DAY)
    with django_assert_num_queries(3):  # How far, the days, and the rows since.
        assert usage.total(month).requests == 30
    ApiRequest.objects.all().delete()
    assert usage.total(month).requests == 30
    assert len(usage.over_time(month, zone=zoneinfo.ZoneInfo("Europe/Berlin"))) == 31
