"""The cache of keys and catalogue: few loads, nothing old, nobody waits without need."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError

from gateway import short_cache
from gateway.short_cache import SharedValue, ShortCache


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(short_cache, "time", clock)
    return clock


class Loads:
    """What is loaded: the number of the load, once `may_end` is set."""

    def __init__(self):
        self.count = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails = False

    async def __call__(self, key) -> int:
        self.count += 1
        number = self.count
        await self.may_end.wait()
        if self.fails:
            raise LookupError(key)
        return number


def run(story):
    async def told():
        loads = Loads()
        return await story(ShortCache(loads, 1.0), loads)

    return asyncio.run(told())


async def all_done():
    for _ in range(5):
        await asyncio.sleep(0)


def test_all_who_ask_at_once_share_one_load(clock):
    async def story(cache, loads):
        return await asyncio.gather(*(cache.get("a") for _ in range(10))), loads.count

    assert run(story) == ([1] * 10, 1)


def test_an_entry_is_as_old_as_the_beginning_of_its_load(clock):
    async def story(cache, loads):
        loads.may_end.clear()
        asking = asyncio.create_task(cache.get("a"))
        await all_done()
        clock.now += 0.9
        loads.may_end.set()
        first = await asking
        clock.now += 0.2
        return first, await cache.get("a")

    assert run(story) == (1, 2)


def test_a_busy_entry_is_loaded_anew_while_it_is_still_used(clock):
    async def story(cache, loads):
        await cache.get("a")
        clock.now += 0.6
        during = [await cache.get("a") for _ in range(3)]
        await all_done()
        return during, await cache.get("a"), loads.count

    assert run(story) == ([1, 1, 1], 2, 2)


def test_an_old_entry_is_never_used(clock):
    async def story(cache, loads):
        await cache.get("a")
        clock.now += 1.0
        return await cache.get("a")

    assert run(story) == 2


def test_who_needs_a_load_that_has_begun_waits_for_that_one(clock):
    async def story(cache, loads):
        await cache.get("a")
        clock.now += 0.6
        loads.may_end.clear()
        await cache.get("a")
        clock.now += 0.5
        asking = [asyncio.create_task(cache.get("a")) for _ in range(3)]
        await all_done()
        loads.may_end.set()
        return await asyncio.gather(*asking), loads.count

    assert run(story) == ([2, 2, 2], 2)


def test_what_fails_to_load_anew_is_out_of_use_at_once(clock):
    async def story(cache, loads):
        await cache.get("a")
        clock.now += 0.6
        loads.fails = True
        await cache.get("a")
        await all_done()
        with pytest.raises(LookupError):
            await cache.get("a")

    run(story)


def test_a_failure_is_not_kept(clock):
    async def story(cache, loads):
        loads.fails = True
        with pytest.raises(LookupError):
            await cache.get("a")
        loads.fails = False
        return await cache.get("a")

    assert run(story) == 2


def test_who_gives_up_takes_nothing_from_the_others(clock):
    async def story(cache, loads):
        loads.may_end.clear()
        one, other = (asyncio.create_task(cache.get("a")) for _ in range(2))
        await all_done()
        one.cancel()
        await all_done()
        loads.may_end.set()
        return await other

    assert run(story) == 1


def test_without_a_lifetime_each_request_loads():
    async def story():
        loads = Loads()
        cache = ShortCache(loads, 0.0)
        return [await cache.get("a") for _ in range(3)]

    assert asyncio.run(story()) == [1, 2, 3]


def test_nothing_is_kept_that_nobody_asks_for():
    async def story():
        cache = ShortCache(Loads(), 0.01)
        await cache.get("a")
        assert cache._entries
        async with asyncio.timeout(10):
            while cache._entries:  # noqa: ASYNC110 - a timer empties it, and tells nobody
                await asyncio.sleep(0.005)

    asyncio.run(story())


def test_a_shared_value_is_read_once_in_its_time(clock):
    reads = iter(range(10))
    value = SharedValue(lambda: next(reads))
    assert [value.get(1.0), value.get(1.0)] == [0, 0]
    clock.now += 0.9
    assert value.get(1.0) == 0
    clock.now += 0.1
    assert value.get(1.0) == 1
    value.clear()
    assert value.get(1.0) == 2
    assert [value.get(0.0), value.get(0.0)] == [3, 4]


def test_a_shared_value_is_as_old_as_the_beginning_of_its_read(clock):
    def read() -> float:
        begun = clock.now
        clock.now += 0.9
        return begun

    value = SharedValue(read)
    assert value.get(1.0) == 100.0
    clock.now += 0.1
    assert value.get(1.0) == 101.0


def test_a_read_that_fails_is_not_kept():
    answers = iter([LookupError, 1])

    def read() -> int:
        answer = next(answers)
        if answer is LookupError:
            raise LookupError
        return answer

    value = SharedValue(read)
    with pytest.raises(LookupError):
        value.get(60.0)
    assert value.get(60.0) == 1


def test_who_comes_while_a_shared_value_is_read_waits_for_the_same():
    begun, may_end = threading.Event(), threading.Event()
    reads = []

    def read() -> int:
        reads.append(begun.set())
        assert may_end.wait(10)
        return len(reads)

    value = SharedValue(read)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(value.get, 60.0)
        assert begun.wait(10)
        second = threads.submit(value.get, 60.0)
        may_end.set()
        assert (first.result(10), second.result(10)) == (1, 1)


class Doorbell:
    """A lock that rings each time before somebody takes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rings = threading.Semaphore(0)

    def __enter__(self):
        self.rings.release()
        return self._lock.__enter__()

    def __exit__(self, *exc_info):
        return self._lock.__exit__(*exc_info)


def test_all_who_wait_for_a_database_that_is_away_hear_of_it_at_once():
    may_end = threading.Event()
    reads = []

    def read() -> int:
        reads.append(len(reads))
        if len(reads) == 1:
            assert may_end.wait(10)
            raise OperationalError
        return len(reads)

    value = SharedValue(read)
    value._lock = doorbell = Doorbell()
    with ThreadPoolExecutor(5) as threads:
        asked = [threads.submit(value.get, 60.0) for _ in range(5)]
        for _ in asked:
            assert doorbell.rings.acquire(timeout=10)
        may_end.set()
        assert {type(one.exception(10)) for one in asked} == {OperationalError}
    assert len(reads) == 1
    assert value.get(60.0) == 2
