"""A small cache in this process whose entries live for about a second.

Long enough that a busy key or the catalogue costs no query per request; short enough that a
revoked key or a disabled route is out of use everywhere within two seconds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

MAX_ENTRIES = 10_000


class ShortCache:
    """`load` is asked once per key and lifetime, however many wait; its errors aren't kept."""

    def __init__(self, load: Callable[[Any], Awaitable[Any]], ttl_s: float):
        self._load = load
        self._ttl_s = ttl_s
        self._entries: dict[Hashable, tuple[float, asyncio.Future]] = {}

    async def get(self, key: Hashable) -> Any:
        entry = self._entries.get(key)
        if entry is not None and entry[0] > time.monotonic():
            future = entry[1]
            if future.done():
                return future.result()
        else:
            future = self._begin(key)
        # Shielded: who gives up waiting must not take the answer from the others.
        return await asyncio.shield(future)

    def clear(self) -> None:
        self._entries.clear()

    def _begin(self, key: Hashable) -> asyncio.Future:
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()
        future = asyncio.ensure_future(self._load(key))
        self._entries[key] = (time.monotonic() + self._ttl_s, future)
        future.add_done_callback(lambda done: self._forget_failure(key, done))
        return future

    def _forget_failure(self, key: Hashable, done: asyncio.Future) -> None:
        if done.cancelled() or done.exception() is not None:
            self._entries.pop(key, None)
