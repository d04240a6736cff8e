"""Postgres stops to answer while a gateway process is under load, and comes back.

Every request is answered in time and costs nothing, readiness turns red and green again by itself,
and the books are right without a restart.
"""

import dataclasses
import time

import pytest
from django.db import connection

from billing.models import Hold
from tests.support.books import differences_of
from tests.support.gateway.pressed import Load
from tests.support.gateway.receipts import GOOD, PRICE
from tests.support.live import Gateway, eventually
from tests.support.silence import Pooler

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has no server that could go silent"
)


@dataclasses.dataclass(frozen=True)
class Pace:
    """For how long Postgres is away, and how patient the process is (seconds)."""

    away_s: float
    pause_s: float
    environment: dict[str, str]


QUICK = Pace(
    away_s=4.5,
    pause_s=0.4,
    environment={
        "DATABASE_TIMEOUT_S": "1",
        "DATABASE_POOL_TIMEOUT_S": "1",
        "ADMISSION_TIMEOUT_S": "1",
        "COMMIT_TIMEOUT_S": "1.5",
        "COMMIT_STALLED_AFTER_S": "1",
        "SETTLE_TIMEOUT_S": "3",
        "CACHE_TTL_S": "1",
    },
)
# As in production.
REAL = Pace(
    away_s=60,
    pause_s=0.02,
    environment={
        "DATABASE_TIMEOUT_S": "2",
        "DATABASE_POOL_TIMEOUT_S": "2",
        "ADMISSION_TIMEOUT_S": "2",
        "COMMIT_TIMEOUT_S": "5",
        "COMMIT_STALLED_AFTER_S": "3",
        "SETTLE_TIMEOUT_S": "10",
        "CACHE_TTL_S": "1",
    },
)
PACES = [
    pytest.param(QUICK, id="quick"),
    pytest.param(REAL, id="frozen-for-a-minute", marks=pytest.mark.endurance),
]
AT_WORK_S = 1.5  # before Postgres goes and after it has come back


@pytest.fixture(scope="module")
def pooler(django_db_setup):
    with Pooler() as pooler:
        yield pooler


@pytest.fixture(scope="module")
def gateway_of(pooler, django_db_blocker):
    """The process of each pace, behind the pooler."""
    running: dict[float, Gateway] = {}

    def start(pace: Pace) -> Gateway:
        if pace.away_s not in running:
            running[pace.away_s] = Gateway(**pooler.urls, **pace.environment)
            running[pace.away_s].start()
        return running[pace.away_s]

    yield start
    for gateway in running.values():
        gateway.stop()


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("fate", ["silent", "frozen"])
def test_nothing_waits_for_a_postgres_that_does_not_answer(
    committed, scripted, fake, pooler, gateway_of, pace, fate
):
    load = Load(gateway_of(pace), fake.script(GOOD), pace.pause_s)
    with load.pressing():
        time.sleep(AT_WORK_S)
        with getattr(pooler, fate)():
            gone = time.monotonic()
            time.sleep(pace.away_s)
        back = time.monotonic()
        eventually(lambda: load.looks[-1].began > back and load.looks[-1].status == 200)
        green = time.monotonic()
        time.sleep(AT_WORK_S)
    every_request_is_answered_in_time(load, gone, back)
    readiness_turns_red_and_green(load, gone, back)
    all_goes_on(load, green)
    the_books_are_right(load)


def every_request_is_answered_in_time(load: Load, gone: float, back: float) -> None:
    late = [one for one in load.begun_between(gone, back) if one.took_s >= 3]
    assert late == []
    # The caches know keys and models for a second more.
    refused = [one for one in load.begun_between(gone + 1.1, back) if one.ended < back]
    assert {one.kind for one in refused} == {one.kind for one in load.answers}
    assert [(one.kind, one.status) for one in refused if one.status != 503] == []
    for one in refused:
        says = {"page": b"Not available right now", "api": b'"unavailable"'}
        assert says.get(one.kind, b"Try again shortly") in one.body


def readiness_turns_red_and_green(load: Load, gone: float, back: float) -> None:
    red = [one for one in load.looks if one.status == 503]
    assert gone <= red[0].ended <= gone + 5
    assert max(one.took_s for one in load.looks) < 3
    during = [one for one in load.looks if red[0].began <= one.began and one.ended < back]
    assert {one.status for one in during} == {503}
    assert any(b"stalled" in one.body for one in during)


def all_goes_on(load: Load, green: float) -> None:
    after = load.begun_between(green + 0.5, green + 60)
    assert {one.kind for one in after} == {one.kind for one in load.answers}
    assert {one.status for one in after} == {200}


def the_books_are_right(load: Load) -> None:
    eventually(lambda: not Hold.objects.exists())
    for number, customer in enumerate(load.customers):
        spent = sum(-one.amount_nano for one in customer.account.entries.exclude(kind="purchase"))
        assert spent == PRICE * load.whole_answers(number)
    assert differences_of(load.customers) == []
