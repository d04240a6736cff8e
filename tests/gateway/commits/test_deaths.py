"""Which web processes the sweeper takes for dead."""

import datetime as dt
import random

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.ids import uuid7
from billing.models import Hold
from gateway.commits import deaths, sweeper
from gateway.models import SweeperState, WebProcess
from tests.support.another_session import another_session
from tests.support.books import hold, sums
from tests.support.factories import make_account, make_price, make_process
from tests.support.gateway.watched_engine import on_postgres

HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _books(books):
    pass


@pytest.fixture
def any_look_counts(settings):
    settings.LEASE_LOOK_GAP_S = 0


def beat(process: WebProcess) -> None:
    WebProcess.objects.filter(pk=process.pk, dead_at=None).update(beat=F("beat") + 1)


def is_dead(process: WebProcess) -> bool:
    process.refresh_from_db()
    return process.dead_at is not None


def test_the_third_look_without_a_new_beat_finds_a_process_dead(any_look_counts):
    process = make_process()
    died = [deaths.look() for _ in range(6)]
    assert died == [0, 0, 0, 1, 0, 0], "the first look saw its first beat"
    assert is_dead(process)


def test_any_beat_begins_the_count_again(any_look_counts):
    process, chance = make_process(), random.Random(12)
    for _ in range(40):
        for _ in range(chance.randint(0, deaths.MISSES)):
            deaths.look()
        beat(process)
    assert not is_dead(process)


def test_looks_that_have_piled_up_count_as_one():
    """As after a backlog of jobs, or in a database that goes on after it was frozen."""
    process = make_process()
    for _ in range(10):
        deaths.look()
    assert not is_dead(process)
    assert process.missed == 0
    WebProcess.objects.update(looked_at=timezone.now() - HOUR)
    for _ in range(10):
        deaths.look()
    assert not is_dead(process)
    assert process.missed == 1


def test_a_sweeper_that_was_stopped_for_an_hour_kills_nobody(any_look_counts):
    living, dead = make_process(), make_process()
    deaths.look()
    beat(living)
    WebProcess.objects.update(looked_at=timezone.now() - HOUR)
    for missed in (1, 2):
        assert deaths.look() == 0
        dead.refresh_from_db()
        assert dead.missed == missed
        beat(living)
    assert deaths.look() == 1
    assert (is_dead(living), is_dead(dead)) == (False, True)


def test_holds_of_the_dead_are_swept_long_before_their_deadline():
    account, price = make_account(balance_nano=10_000), make_price()
    living, dead = make_process(), make_process(dead_at=timezone.now())
    for process in (None, living, dead):
        hold(account, price, process=process)
    assert sweeper.sweep() == 1
    assert set(Hold.objects.values_list("process_id", flat=True)) == {None, living.id}
    assert sums(account) == (10_000, 2000)


def test_a_dead_process_is_forgotten_after_a_day_unless_it_left_a_hold():
    account, price = make_account(balance_nano=10_000), make_price()
    long_ago = timezone.now() - dt.timedelta(hours=25)
    living, dead, left_a_hold = make_process(), make_process(), make_process(dead_at=long_ago)
    WebProcess.objects.filter(pk=dead.pk).update(dead_at=timezone.now() - HOUR)
    make_process(dead_at=long_ago)
    hold(account, price, process=left_a_hold)
    deaths.forget()
    assert set(WebProcess.objects.all()) == {living, dead, left_a_hold}


def test_each_run_looks_sweeps_and_leaves_word(any_look_counts, caplog):
    account, process = make_account(balance_nano=10_000), make_process()
    hold(account, make_price(), process=process)
    closed = [sweeper.run() for _ in range(4)]
    assert closed == [0, 0, 0, 1]
    assert "1 web processes are dead" in caplog.text
    age = timezone.now() - SweeperState.objects.get().swept_at
    assert dt.timedelta(minutes=-1) < age < dt.timedelta(minutes=1)


@pytest.mark.skipif(not on_postgres, reason="SQLite keeps no old snapshots")
def test_a_transaction_that_stays_open_is_reported_once(monkeypatch, caplog):
    monkeypatch.setattr(sweeper, "OLD_TRANSACTION_S", 0.000_001)
    with another_session() as session, session.transaction():
        session.execute("SELECT 1")
        sweeper.run()
        sweeper.run()
    assert SweeperState.objects.get().oldest_transaction_s > 0
    assert caplog.text.count("a transaction has been open") == 1


def test_a_hold_of_a_process_without_a_row_waits_for_its_deadline():
    account = make_account(balance_nano=10_000)
    hold(account, make_price(), process=WebProcess(id=uuid7()))
    assert sweeper.sweep() == 0
    assert sweeper.sweep(timezone.now() + HOUR) == 1
