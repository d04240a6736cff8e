"""Token buckets: exact in Redis, with a twin in this process for as long as Redis is away.

A bucket holds what flows into it within its time, which is a minute where nothing else is said. A
request takes from all of its buckets or from none. Requests of this process that arrive at the same
time share one call to Redis.

Without Redis each process grants its share of every limit, but at least one. Together they grant
no more than the limit, and less if the load is uneven. A process that alone has lost Redis grants
its share on top of the others' limit.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

MINUTE_S = 60.0
ROUNDING_S = 1e-6  # A microsecond of grace, as in the script.
RETRY_REDIS_AFTER_S = 1.0
MAX_TWINS = 100_000  # More than are ever in use at once, unless a client makes up names.
PREFIX = "kyma:bucket:"

_SCRIPT = Path(__file__).with_suffix(".lua").read_text()


class Bucket(NamedTuple):
    """A request to take `cost` from a bucket that holds `capacity` when it is full."""

    name: str
    capacity: int
    cost: int = 1
    fills_in_s: float = MINUTE_S


class Level(NamedTuple):
    """The state of a bucket: after taking if all buckets had enough, otherwise unchanged.

    `wait_s` is the time until the bucket has enough; 0 if it has.
    """

    capacity: int
    remaining: int
    wait_s: float
    full_in_s: float

    @classmethod
    def of(cls, bucket: Bucket, wait_s: float, full_in_s: float) -> "Level":
        left = bucket.capacity * (1 - (full_in_s - ROUNDING_S) / bucket.fills_in_s)
        return cls(bucket.capacity, min(int(left), bucket.capacity), wait_s, full_in_s)


class Twin:
    """The buckets of this process alone. Times are monotonic seconds.

    Only the MAX_TWINS most recently used buckets are kept. A forgotten bucket counts as full,
    which it usually is by then.
    """

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()  # The most recently used is last.

    def take(self, buckets: Sequence[Bucket], now: float) -> list[Level]:
        before = [max(self._full_at.get(one.name, 0.0), now) for one in buckets]
        after = [
            at + one.cost * one.fills_in_s / one.capacity
            for one, at in zip(buckets, before, strict=True)
        ]
        waits = [
            max(at - now - one.fills_in_s - ROUNDING_S, 0.0)
            for one, at in zip(buckets, after, strict=True)
        ]
        if not any(waits):
            before = after
        self._remember(buckets, before)
        full_in = [at - now for at in before]
        return [Level.of(*one) for one in zip(buckets, waits, full_in, strict=True)]

    def _remember(self, buckets: Sequence[Bucket], full_at: Sequence[float]) -> None:
        for bucket, at in zip(buckets, full_at, strict=True):
            self._full_at[bucket.name] = at
            self._full_at.move_to_end(bucket.name)
        while len(self._full_at) > MAX_TWINS:
            self._full_at.popitem(last=False)


class TokenBuckets:
    """Belongs to the event loop in which it is first used."""

    def __init__(self, url: str, processes: int):
        self._redis = Redis.from_url(
            url,
            socket_timeout=settings.REDIS_TIMEOUT_S,
            socket_connect_timeout=settings.REDIS_TIMEOUT_S,
            # Redis may have closed an idle connection without being away.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            single_connection_client=True,
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._processes = processes
        self._twin = Twin()
        self._waiting: list[tuple[list[Bucket], asyncio.Future]] = []
        self._sender: asyncio.Task | None = None
        self._looking: asyncio.Task | None = None  # It runs while Redis is away.

    async def take(self, buckets: Sequence[Bucket]) -> list[Level]:
        """Take from all `buckets` if each has enough. Returns the level of each, in order.

        A cost above the capacity needs a full bucket.
        """
        if self._is_away:
            return self._take_from_twin(buckets)
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(([_capped(one) for one in buckets], future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send(), name="token buckets")
        return await future

    async def _send(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, []
            answers = await self._answers([buckets for buckets, _ in asked])
            for (_, future), levels in zip(asked, answers, strict=True):
                if not future.done():  # The request may have been cancelled.
                    future.set_result(levels)

    async def _answers(self, asked: list[list[Bucket]]) -> list[list[Level]]:
        # Requests that arrived while Redis timed out for others don't wait for it again.
        if not self._is_away:
            try:
                async with asyncio.timeout(settings.REDIS_TIMEOUT_S):
                    return await self._ask_redis(asked)
            except Exception as error:  # noqa: BLE001 - every waiting request must get an answer
                logger.warning("limits are kept per process: %s", type(error).__name__)
                await self._hang_up()
                self._looking = asyncio.create_task(self._look_for_redis(), name="find Redis")
        return [self._take_from_twin(buckets) for buckets in asked]

    @property
    def _is_away(self) -> bool:
        return self._looking is not None and not self._looking.done()

    async def _look_for_redis(self) -> None:
        """Ask Redis again and again until it answers, so that no request waits for that."""
        while True:
            await asyncio.sleep(RETRY_REDIS_AFTER_S)
            try:
                async with asyncio.timeout(settings.REDIS_TIMEOUT_S):
                    await self._redis.ping()
                return
            except (RedisError, OSError):
                await self._hang_up()

    async def _hang_up(self) -> None:
        """Drop the connection: an answer that comes too late must not be taken for the next."""
        if self._redis.connection is not None:
            await self._redis.connection.disconnect(nowait=True)

    async def _ask_redis(self, asked: list[list[Bucket]]) -> list[list[Level]]:
        keys = [PREFIX + one.name for buckets in asked for one in buckets]
        # Amounts are one JSON argument: the client packs arguments one by one, which is slow.
        amounts = [
            [(one.capacity, one.cost, one.fills_in_s * 1e6) for one in buckets] for buckets in asked
        ]
        found = iter(await self._script(keys, [orjson.dumps(amounts)]))
        pairs = ((wait / 1e6, full_in / 1e6) for wait, full_in in zip(found, found, strict=True))
        return [
            [Level.of(one, *times) for one, times in zip(buckets, pairs, strict=False)]
            for buckets in asked
        ]

    def _take_from_twin(self, buckets: Sequence[Bucket]) -> list[Level]:
        shares = [one._replace(capacity=max(one.capacity // self._processes, 1)) for one in buckets]
        return self._twin.take([_capped(one) for one in shares], time.monotonic())

    async def close(self) -> None:
        if self._sender is not None:
            await self._sender
        if self._looking is not None and not self._looking.done():
            self._looking.cancel()
            await asyncio.wait({self._looking})
        await self._redis.aclose()


def _capped(bucket: Bucket) -> Bucket:
    if bucket.cost <= bucket.capacity:
        return bucket
    return bucket._replace(cost=bucket.capacity)


_buckets: TokenBuckets | None = None


def take(buckets: Sequence[Bucket]) -> Awaitable[list[Level]]:
    """Take from the buckets that all processes share."""
    global _buckets
    if _buckets is None:
        _buckets = TokenBuckets(settings.REDIS_URL, settings.WEB_PROCESSES)
    return _buckets.take(buckets)


async def close() -> None:
    global _buckets
    if _buckets is not None:
        await _buckets.close()
        _buckets = None
