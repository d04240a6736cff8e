"""Bounds the queries that keys cost which this process hasn't seen work.

An address may try UNKNOWN_KEYS_PER_MINUTE of them. Beyond that its keys wait a moment and are
looked up together by one query: whoever floods us with unknown keys costs a few queries per second,
and a valid key from the same address works all the same. For CACHE_TTL_S the same key is refused
without a query.
"""

import asyncio
import math
import time

from django.conf import settings
from django.db import Error as DatabaseError

from accounts import keys
from gateway.access import client_address
from gateway.access.token_buckets import Bucket, Twin
from gateway.database import in_thread
from gateway.errors import TooManyRequests, Unauthenticated

MOST_REMEMBERED = 10_000  # keys that worked, and keys that didn't
MOST_WAITING = 1_000  # keys that are looked up together
LOOK_UP_EVERY_S = 0.25


class KnownKeys:
    """The keys that worked or failed lately, as hashes: no list of secrets is kept."""

    def __init__(self) -> None:
        self._working: dict[int, None] = {}
        self._failed: dict[int, tuple[float, str]] = {}

    def __contains__(self, text: str) -> bool:
        return hash(text) in self._working

    def worked(self, text: str) -> None:
        _put(self._working, hash(text), None)

    def failed(self, text: str, reason: str) -> None:
        self._working.pop(hash(text), None)
        _put(self._failed, hash(text), (time.monotonic() + settings.CACHE_TTL_S, reason))

    def why_refused(self, text: str) -> str | None:
        until, reason = self._failed.get(hash(text), (0.0, ""))
        return reason if time.monotonic() < until else None


class Lookups:
    """Answers which keys exist, for all that wait by one query. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._task: asyncio.Task | None = None

    async def exists(self, text: str) -> bool:
        """Return False also if too many wait. Raises DatabaseError."""
        digest = keys.digest(text)
        if digest not in self._waiting:
            if len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting[digest] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_up(), name="unknown keys")
        return await asyncio.shield(self._waiting[digest])

    async def _look_up(self) -> None:
        while self._waiting:
            await asyncio.sleep(LOOK_UP_EVERY_S)
            asked, self._waiting = self._waiting, {}
            try:
                found = await in_thread(keys.existing, list(asked))
            except DatabaseError as error:
                for future in asked.values():
                    future.set_exception(error)
                    future.exception()  # Nobody may wait for it any more.
            else:
                for digest, future in asked.items():
                    future.set_result(digest in found)


known = KnownKeys()
_lookups = Lookups()
_tries = Twin()


async def admit(text: str, ip: str) -> None:
    """Return if a query for this key is due; `text` isn't known to work.

    Raises Unauthenticated, TooManyRequests, DatabaseError.
    """
    if not keys.is_well_formed(text):
        raise Unauthenticated(keys.MALFORMED)
    if reason := known.why_refused(text):
        raise Unauthenticated(reason)
    bucket = Bucket(client_address.client_of(ip), settings.UNKNOWN_KEYS_PER_MINUTE)
    (level,) = _tries.take([bucket], time.monotonic())
    if level.wait_s and not await _lookups.exists(text):
        seconds = math.ceil(level.wait_s)
        raise TooManyRequests(
            f"This address has sent {bucket.capacity:,} unknown keys within a minute: check the "
            f"key, and try again in {seconds} s.",
            retry_after_s=seconds,
            code="unknown_keys_per_minute",
        )


def _put(remembered: dict, key: int, value: object) -> None:
    remembered.pop(key, None)
    remembered[key] = value
    while len(remembered) > MOST_REMEMBERED:
        del remembered[next(iter(remembered))]  # the oldest
