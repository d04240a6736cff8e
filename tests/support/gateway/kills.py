"""kill -9 of a gateway process at a moment that chance chooses, and the process that follows it."""

import datetime as dt
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.utils import timezone

from billing.models import LedgerEntry
from gateway.commits import reconcile, sweeper
from tests.support.live import Customer, Gateway, eventually

PAST_EVERY_DEADLINE = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def _mortal_process(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), Gateway(CACHE_TTL_S="1") as gateway:
        yield gateway


@pytest.fixture
def mortal(committed, scripted, _mortal_process):
    """A gateway process of this module alone: it is killed, and started again."""
    return _mortal_process


@pytest.fixture
def chance():
    seed = int(os.environ.get("KILL_SEED") or random.SystemRandom().getrandbits(32))
    print(f"KILL_SEED={seed}")
    return random.Random(seed)


@contextmanager
def killed(gateway: Gateway, *, clients: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for clients. At the end of the block the gateway is killed; then it serves again."""
    try:
        with ThreadPoolExecutor(clients) as threads:
            try:
                yield threads
            finally:
                gateway.kill()
    finally:
        gateway.start()


def wait_for_the_moment(
    chance: random.Random, customers: Sequence[Customer], *, within_s: float
) -> None:
    """Wait until one of them, or all, are charged; every other time for any moment."""
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, within_s))  # Not for luck: any moment will do.
        return
    target = chance.choice(customers)
    ids = [target.account.id] if chance.random() < 0.5 else [one.account.id for one in customers]
    entries = LedgerEntry.objects.filter(account__in=ids, kind=LedgerEntry.Kind.USAGE)
    at_once(entries.exists)
    time.sleep(chance.choice([0, 0, 0.001, 0.003]))


def at_once(is_there: Callable[[], bool]) -> None:
    """Return as soon as it is there, looking as often as possible."""
    eventually(lambda: any(is_there() for _ in range(100)))


def sweep() -> None:
    """Close the holds of the dead process."""
    sweeper.sweep(timezone.now() + PAST_EVERY_DEADLINE)


def check_books_of(customer: Customer) -> None:
    assert customer.held_nano() == 0
    assert not customer.holds()
    assert list(reconcile.differences(customer.account.id)) == []
