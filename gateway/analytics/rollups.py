"""Folds the request log into the rollups of hours and days.

An hour is final once no further row of it can move money: it ended a while ago, and none of its
holds is open. A hold and the row of its request change in one transaction, so a reader that sees
no hold sees the row. All hours before `RollupState.final_until` are final. `usage.py` reads these
from the rollups and the rest from the log.

Two kinds of change may still come later: the row of a request that was refused while the database
was away, which moves no money, and the reversal of a charge. `fold_late` finds the hours whose
number of rows or cost differs from what was folded. If an hour isn't final, only the service of
the routes is folded, which pages show to everybody.

Folding is safe to run twice and in several processes at once: a process first changes the state's
row by a conditional update, and folding an hour replaces its rows. Hours are read by ranges of the
primary key, a UUIDv7, and outside of the transaction, so that no request waits for a sum.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import transaction
from django.db.models import Aggregate, Count, QuerySet, Sum
from django.db.models.functions import TruncHour
from django.utils import timezone

from accounts.ids import first_id_at
from billing.models import Hold
from gateway.analytics import route_tally, tally
from gateway.analytics.periods import DAY, HOUR, ID_SLACK, day_of, hour_of, ids_about
from gateway.analytics.route_tally import ServiceTally
from gateway.analytics.tally import IS_USAGE, Tally
from gateway.models import (
    ApiRequest,
    RollupState,
    Route,
    ServiceDay,
    ServiceHour,
    UsageDay,
    UsageHour,
)

# Before that, requests of the hour may still be admitted, and most are still running.
FINAL_AFTER = dt.timedelta(minutes=15)
LATE_WITHIN = dt.timedelta(hours=48)
MOST_OPEN_HOURS = 3  # They are folded at every run. A stuck hold can keep more hours open.
BATCH = 5000  # This many rows of the log are read at once.
SAVED_AT_ONCE = 500

KIND = ("model", "provider", "route_id", "account_id", "key_id")  # Usage is grouped by these.
_COLUMNS = tuple(dict.fromkeys((*KIND, *tally.COLUMNS, *route_tally.COLUMNS)))


def fold(now: dt.datetime | None = None) -> int:
    """Fold everything logged since the last run. Returns how many hours became final."""
    now = now or timezone.now()
    state = _state(now)
    hour, folded = state.final_until, 0
    while _is_over(hour, now):
        if not _make_final(hour, now):
            return folded  # Another process is folding.
        hour, folded = hour + HOUR, folded + 1
    for open_hour in _open_hours(hour, now):
        _fold_service(open_hour, now)
    return folded


def fold_late(now: dt.datetime | None = None) -> int:
    """Fold again the final hours of the last two days whose rows have changed since.

    Returns how many there were.
    """
    now = now or timezone.now()
    until = _state(now).final_until
    late = _hours_that_differ(until - LATE_WITHIN, until)
    for hour in late:
        _fold_again(hour, now)
    return len(late)


def rebuild(now: dt.datetime | None = None) -> int:
    """Rebuild all rollups; in the meantime usage is read from the log.

    Returns how many hours became final.
    """
    now = now or timezone.now()
    first = _first_hour(now)
    RollupState.objects.update_or_create(defaults={"final_until": first, "folded_at": now})
    for model in (UsageHour, UsageDay):
        _from_the_log(model.objects.filter(start__lt=first)).delete()
    for service_model in (ServiceHour, ServiceDay):
        service_model.objects.filter(start__lt=first).delete()
    return fold(now)


def final_until() -> dt.datetime | None:
    """Return the time before which hours can be read from the rollups; None if there are none."""
    return RollupState.objects.values_list("final_until", flat=True).first()


def _state(now: dt.datetime) -> RollupState:
    defaults = {"final_until": _first_hour(now), "folded_at": now}
    return RollupState.objects.get_or_create(defaults=defaults)[0]


def _first_hour(now: dt.datetime) -> dt.datetime:
    """Return an hour before the first logged or running request."""
    moments = [now]
    for model in (ApiRequest, Hold):
        moments += model.objects.order_by("id").values_list("created_at", flat=True)[:1]
    return hour_of(min(moments) - HOUR)


def _open_hours(first: dt.datetime, now: dt.datetime) -> list[dt.datetime]:
    """Return the hours from `first` until now, at most the last MOST_OPEN_HOURS."""
    hours = [hour_of(now) - HOUR * ago for ago in range(MOST_OPEN_HOURS)]
    return [hour for hour in hours if hour >= first]


def _is_over(hour: dt.datetime, now: dt.datetime) -> bool:
    end = hour + HOUR
    return (
        end + FINAL_AFTER <= now
        and not Hold.objects.filter(id__lt=first_id_at(end + ID_SLACK)).exists()
    )


# --- One hour ------------------------------------------------------------------------------------


def _make_final(hour: dt.datetime, now: dt.datetime) -> bool:
    """Fold the first hour that isn't final. Returns False if another process did it."""
    usage, served = _sums(hour)
    with transaction.atomic():
        moved = RollupState.objects.filter(final_until=hour).update(
            final_until=hour + HOUR, folded_at=now
        )
        if not moved:
            return False
        _replace_usage(hour, usage)
        _replace_service(ServiceHour, hour, served)
        if hour + HOUR == day_of(hour) + DAY:
            _fold_day(day_of(hour))
    return True


def _fold_again(hour: dt.datetime, now: dt.datetime) -> None:
    usage, served = _sums(hour)
    with transaction.atomic():
        RollupState.objects.update(folded_at=now)
        _replace_usage(hour, usage)
        _replace_service(ServiceHour, hour, served)
        if RollupState.objects.filter(final_until__gte=day_of(hour) + DAY).exists():
            _fold_day(day_of(hour))


def _fold_service(hour: dt.datetime, now: dt.datetime) -> None:
    """Fold only the service of the routes, for an hour that isn't final."""
    _, served = _sums(hour)
    with transaction.atomic():
        if RollupState.objects.filter(final_until__lte=hour).update(folded_at=now):
            _replace_service(ServiceHour, hour, served)


Sums = tuple[dict[tuple, Tally], dict[uuid.UUID, ServiceTally]]


def _sums(hour: dt.datetime) -> Sums:
    """Return the sums of one hour: usage by kind, and service by route."""
    usage: dict[tuple, Tally] = defaultdict(Tally)
    served: dict[uuid.UUID, ServiceTally] = defaultdict(ServiceTally)
    routes = {route_id.hex: route_id for route_id in Route.objects.values_list("id", flat=True)}
    for row in _rows(hour):
        usage[tuple(row[name] for name in KIND)].add_row(tuple(row[name] for name in tally.COLUMNS))
        for route, failed in route_tally.verdicts(row["attempts"]):
            if route in routes:
                served[routes[route]].add_attempt(failed=failed)
        if row["route_id"] and (answer := _writing(row)):
            served[row["route_id"]].add_answer(answer)
    return usage, served


def _writing(row: dict[str, Any]) -> route_tally.Writing | None:
    return route_tally.writing(
        row["outcome"],
        row["streamed"],
        row["completion_tokens"],
        row["first_token_ms"],
        row["latency_ms"],
        row["attempts"],
    )


def _rows(hour: dt.datetime) -> Iterator[dict[str, Any]]:
    rows = _log(hour, hour + HOUR).order_by("id").values("id", *_COLUMNS)
    batch = list(rows[:BATCH])
    while batch:
        yield from batch
        batch = list(rows.filter(id__gt=batch[-1]["id"])[:BATCH])


def _log(since: dt.datetime, until: dt.datetime) -> QuerySet[ApiRequest]:
    return ApiRequest.objects.filter(
        IS_USAGE, created_at__gte=since, created_at__lt=until, **ids_about(since, until)
    )


# --- One day -------------------------------------------------------------------------------------


def _fold_day(day: dt.datetime) -> None:
    """Add up the hours of a day that are all final."""
    hours = {"start__gte": day, "start__lt": day + DAY}
    usage: dict[tuple, Tally] = defaultdict(Tally)
    for row in UsageHour.objects.filter(**hours).values_list(*KIND, *tally.STORED):
        usage[row[: len(KIND)]].add_stored(row[len(KIND) :])
    UsageDay.objects.filter(start=day).delete()
    _save(_usage_rows(UsageDay, day, usage))
    served: dict[uuid.UUID, ServiceTally] = defaultdict(ServiceTally)
    for route, *stored in ServiceHour.objects.filter(**hours).values_list(
        "route_id", *route_tally.STORED
    ):
        served[route].add_stored(tuple(stored))
    _replace_service(ServiceDay, day, served)


# --- Late rows -----------------------------------------------------------------------------------


def _hours_that_differ(since: dt.datetime, until: dt.datetime) -> list[dt.datetime]:
    counted = _log(since, until).annotate(start=TruncHour("created_at", tzinfo=dt.UTC))
    hours = _from_the_log(UsageHour.objects.filter(start__gte=since, start__lt=until))
    logged = _by_hour(counted, Count("pk"))
    folded = _by_hour(hours, Sum("requests"))
    return sorted(hour for hour in {*logged, *folded} if logged.get(hour) != folded.get(hour))


def _by_hour(rows: QuerySet, number: Aggregate) -> dict[dt.datetime, tuple[int, int]]:
    """Return the number of requests of each hour, and their cost."""
    sums = rows.order_by().values_list("start").annotate(number, Sum("cost_nano"))
    return {hour: (requests, cost_nano) for hour, requests, cost_nano in sums}


# --- Writing -------------------------------------------------------------------------------------


def _from_the_log(rows: QuerySet) -> QuerySet:
    """Return `rows` without those of erased accounts, whose requests are gone."""
    return rows.exclude(account=None)


def _replace_usage(hour: dt.datetime, sums: dict[tuple, Tally]) -> None:
    _from_the_log(UsageHour.objects.filter(start=hour)).delete()
    _save(_usage_rows(UsageHour, hour, sums))


def _usage_rows(
    model: type[UsageHour] | type[UsageDay], start: dt.datetime, sums: dict[tuple, Tally]
) -> Iterator[Any]:
    for kind, one in sums.items():
        yield model(start=start, **dict(zip(KIND, kind, strict=True)), **one.stored())


def _replace_service(
    model: type[ServiceHour] | type[ServiceDay],
    start: dt.datetime,
    sums: dict[uuid.UUID, ServiceTally],
) -> None:
    model._default_manager.filter(start=start).delete()
    _save(model(start=start, route_id=route, **one.stored()) for route, one in sums.items())


def _save(rows: Iterable[Any]) -> None:
    rows = list(rows)
    if rows:
        type(rows[0])._default_manager.bulk_create(rows, batch_size=SAVED_AT_ONCE)
