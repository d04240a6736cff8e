"""Token buckets: in Redis and in their twin the same numbers, and never more than the limit."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access import token_buckets
from gateway.access.token_buckets import Bucket, Level, TokenBuckets, Twin
from tests.support.ports import free_port
from tests.support.valkey import Valkey

ROUNDING_S = 1e-5  # Redis counts microseconds.


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@asynccontextmanager
async def buckets_at(url: str, processes: int = 1):
    buckets = TokenBuckets(url, processes)
    try:
        yield buckets
    finally:
        await buckets.close()


@asynccontextmanager
async def timeless_buckets_at(url: str):
    """For their script time stands still: Redis has no clock that a test could stop."""
    script = token_buckets._SCRIPT
    for of_time, instead in {
        "redis.call('TIME')": "{1800000000, 0}",
        ", 'PX', lifetime_ms + 1": "",
    }.items():
        assert script.count(of_time) == 1
        script = script.replace(of_time, instead)
    async with buckets_at(url) as buckets:
        buckets._script = buckets._redis.register_script(script)
        yield buckets


def remaining(levels: list[Level]) -> list[int]:
    return [level.remaining for level in levels]


# --- The twin, at times that a test sets


def test_a_bucket_holds_a_minutes_worth_and_no_more():
    twin, bucket = Twin(), Bucket("b", 3)
    levels = [twin.take([bucket], 0.0)[0] for _ in range(4)]
    assert [level.remaining for level in levels] == [2, 1, 0, 0]
    assert [level.wait_s for level in levels] == pytest.approx([0, 0, 0, 20], abs=1e-4)
    assert levels[-1].full_in_s == pytest.approx(60)


def test_what_was_told_to_wait_is_admitted_afterwards_and_not_before():
    twin, bucket = Twin(), Bucket("b", 30)
    for _ in range(30):
        twin.take([bucket], 0.0)
    (refused,) = twin.take([bucket], 0.5)
    assert twin.take([bucket], 0.5 + refused.wait_s - 0.01)[0].wait_s > 0
    assert twin.take([bucket], 0.5 + refused.wait_s)[0].wait_s == 0


def test_a_request_takes_from_all_of_its_buckets_or_from_none():
    twin = Twin()
    wide, narrow = Bucket("wide", 10), Bucket("narrow", 1)
    twin.take([wide, narrow], 0.0)
    assert remaining(twin.take([wide, narrow], 0.0)) == [9, 0]
    assert remaining(twin.take([wide], 0.0)) == [8]


def test_of_too_many_buckets_those_that_were_used_last_are_known(monkeypatch):
    monkeypatch.setattr(token_buckets, "MAX_TWINS", 3)
    twin = Twin()
    for name in ("a", "b", "c", "a", "d"):
        twin.take([Bucket(name, 10)], 0.0)
    assert remaining(twin.take([Bucket(name, 10) for name in ("a", "c", "d")], 0.0)) == [7, 8, 8]
    assert remaining(twin.take([Bucket("b", 10)], 0.0)) == [9]


def test_one_that_is_refused_again_and_again_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(token_buckets, "MAX_TWINS", 2)
    twin, narrow = Twin(), Bucket("narrow", 1)
    twin.take([narrow], 0.0)
    for other in range(10):
        assert twin.take([narrow], 0.0)[0].wait_s > 0
        twin.take([Bucket(f"other{other}", 10)], 0.0)


@settings(max_examples=50)
@given(
    capacity=st.integers(1, 10**7),
    asks=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1)), max_size=40),
)
def test_in_no_minute_more_is_granted_than_twice_the_limit(capacity, asks):
    """A full bucket, and what flows in during the minute."""
    twin, now, granted = Twin(), 0.0, []
    for pause, share in asks:
        now += pause
        cost = max(int(share * capacity), 1)
        if not twin.take([Bucket("b", capacity, cost)], now)[0].wait_s:
            granted.append((now, cost))
    for start, _ in granted:
        within = sum(cost for at, cost in granted if start <= at < start + 60)
        assert within <= 2 * capacity


# --- Redis


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.integers(1, 1000), st.lists(st.integers(1, 60), min_size=1, max_size=3)),
        min_size=1,
        max_size=25,
    )
)
def test_redis_and_the_twin_say_the_same(valkey, asks):
    name = valkey.unique("twin")
    twin = Twin()

    async def compare():
        async with timeless_buckets_at(valkey.url) as buckets:
            for scale, costs in asks:
                asked = [Bucket(f"{name}{i}", 60 * scale, cost) for i, cost in enumerate(costs)]
                found = await buckets.take(asked)
                expected = twin.take(asked, 0.0)
                for ours, theirs in zip(found, expected, strict=True):
                    assert ours.wait_s == pytest.approx(theirs.wait_s, abs=ROUNDING_S)
                    assert ours.full_in_s == pytest.approx(theirs.full_in_s, abs=ROUNDING_S)

    asyncio.run(compare())


def test_requests_that_ask_at_the_same_time_get_no_more_than_there_is(valkey):
    name = valkey.unique("crowd")

    async def crowd():
        async with timeless_buckets_at(valkey.url) as one, timeless_buckets_at(valkey.url) as other:
            asks = [who.take([Bucket(name, 10)]) for who in (one, other) for _ in range(100)]
            return await asyncio.gather(*asks)

    assert sum(not level.wait_s for (level,) in asyncio.run(crowd())) == 10


def test_what_costs_more_than_a_bucket_holds_needs_a_full_one(valkey):
    name = valkey.unique("large")

    async def large():
        async with timeless_buckets_at(valkey.url) as buckets:
            first = await buckets.take([Bucket(name, 100, 5000)])
            return first + await buckets.take([Bucket(name, 100, 1)])

    first, second = asyncio.run(large())
    assert (first.wait_s, first.remaining) == (0, 0)
    assert second.wait_s == pytest.approx(0.6, abs=ROUNDING_S)


def test_a_bucket_leaves_nothing_behind_once_it_is_full(valkey):
    name = valkey.unique("short")

    async def take():
        async with buckets_at(valkey.url) as buckets:
            await buckets.take([Bucket(name, 10)])

    asyncio.run(take())
    assert 0 < valkey.ask("PTTL", f"kyma:bucket:{name}") <= 6002


# --- Without Redis


def test_without_redis_each_process_grants_its_share():
    async def share():
        async with buckets_at(f"redis://127.0.0.1:{free_port()}/0", processes=4) as buckets:
            return [(await buckets.take([Bucket("b", 10)]))[0] for _ in range(4)]

    levels = asyncio.run(share())
    assert [level.capacity for level in levels] == [2, 2, 2, 2]
    assert [not level.wait_s for level in levels] == [True, True, False, False]


def test_an_answer_that_nobody_expects_counts_as_none(valkey, monkeypatch):
    """What raises anything while all wait for one call must not leave them waiting."""

    async def ask():
        async with buckets_at(valkey.url, processes=2) as buckets:
            monkeypatch.setattr(buckets, "_script", odd_answer)
            async with asyncio.timeout(5):
                return await asyncio.gather(*[buckets.take([Bucket("b", 10)]) for _ in range(2)])

    assert [level.remaining for (level,) in asyncio.run(ask())] == [4, 3]


async def odd_answer(keys, arguments):
    return ["?"] * 2 * len(keys)


def test_a_redis_that_was_restarted_meanwhile_is_no_redis_that_is_away(valkey):
    name = valkey.unique("restarted")

    async def across_a_restart():
        async with buckets_at(valkey.url, processes=2) as buckets:
            before = await buckets.take([Bucket(name, 10)])
            valkey.stop()
            valkey.start()
            return before + await buckets.take([Bucket(name, 10)])

    assert [level.capacity for level in asyncio.run(across_a_restart())] == [10, 10]


@asynccontextmanager
async def silent_redis(connections: asyncio.Queue):
    """The URL of a server that accepts `connections` and says nothing."""
    hung_up = asyncio.Event()

    async def say_nothing(reader, writer):
        connections.put_nowait(writer)
        await reader.read()
        writer.close()
        hung_up.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        await hung_up.wait()


def test_a_redis_that_never_answers_holds_nobody_up_for_long(settings):
    settings.REDIS_TIMEOUT_S = 0.05

    async def ask():
        async with silent_redis(asyncio.Queue()) as url, buckets_at(url) as buckets:
            return [(await buckets.take([Bucket("b", 10)]))[0] for _ in range(5)]

    assert [level.remaining for level in asyncio.run(ask())] == [9, 8, 7, 6, 5]


def test_who_asks_while_it_is_waited_for_does_not_wait_for_it_again(settings):
    settings.REDIS_TIMEOUT_S = 0.2

    async def ask():
        connections: asyncio.Queue = asyncio.Queue()
        async with silent_redis(connections) as url, buckets_at(url) as buckets:
            first = asyncio.create_task(buckets.take([Bucket("b", 10)]))
            await connections.get()
            levels = await asyncio.gather(first, buckets.take([Bucket("b", 10)]))
        assert connections.empty(), "it was asked again"
        return [level.remaining for (level,) in levels]

    assert asyncio.run(ask()) == [9, 8]
