"""Threads for the database: nobody waits behind those that are stuck."""

import asyncio
import threading

import pytest
from django.db import OperationalError

from gateway.database import _threads, in_thread, read_in_thread

THREADS = _threads._max_workers


@pytest.fixture(autouse=True)
def _soon(settings):
    settings.DATABASE_TIMEOUT_S = 0.05


@pytest.fixture
def stuck():
    """Something that takes as long as the test likes."""
    over = threading.Event()
    yield over
    over.set()


def test_who_waits_for_a_thread_in_vain_is_refused_and_what_has_begun_is_waited_for(stuck):
    begun = []

    async def story():
        working = [asyncio.create_task(in_thread(stuck.wait)) for _ in range(THREADS)]
        await asyncio.sleep(0)
        with pytest.raises(OperationalError, match="no thread was free"):
            await in_thread(begun.append, "too late")
        stuck.set()
        return await asyncio.gather(*working)

    assert asyncio.run(story()) == [True] * THREADS
    assert begun == []


def test_reading_is_given_up_when_it_takes_too_long(stuck):
    with pytest.raises(OperationalError, match="took too long"):
        asyncio.run(read_in_thread(stuck.wait))


def test_who_hangs_up_before_its_turn_has_nothing_done(stuck):
    begun = []

    async def story():
        working = [asyncio.create_task(in_thread(stuck.wait)) for _ in range(THREADS)]
        asking = asyncio.create_task(in_thread(begun.append, "for nobody"))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        stuck.set()
        await asyncio.gather(*working)
        await in_thread(begun.append, "for somebody")

    asyncio.run(story())
    assert begun == ["for somebody"]
