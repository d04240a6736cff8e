"""Small caches in this process whose entries live for about a second: ShortCache for the event
loop, SharedValue for pages, which are made in threads.

Long enough that a busy key or the catalogue costs no query per request; short enough that a
revoked key or a disabled route is out of use everywhere within two seconds. What is asked for
often is loaded anew before its time is over, so that no request waits for that.
"""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

MAX_ENTRIES = 10_000
REFRESHED_AFTER = 0.5  # of its lifetime


@dataclasses.dataclass(slots=True)
class _Entry:
    """`begun_at`: when its loading began; what it says was true then or later."""

    begun_at: float
    value: asyncio.Future


class ShortCache:
    """`load` is asked once per key and time, however many wait; its errors aren't kept."""

    def __init__(self, load: Callable[[Any], Awaitable[Any]], ttl_s: float):
        self._load = load
        self._ttl_s = ttl_s
        self._entries: dict[Hashable, _Entry] = {}
        self._refreshing: dict[Hashable, _Entry] = {}

    async def get(self, key: Hashable) -> Any:
        entry = self._entries.get(key)
        if entry is not None and entry.value.done():
            age_s = time.monotonic() - entry.begun_at
            if age_s < self._ttl_s:
                if age_s >= self._ttl_s * REFRESHED_AFTER:
                    self._refresh(key)
                return entry.value.result()
            entry = None
        if entry is None:
            entry = self._entries[key] = self._refresh(key)
        # Shielded: who gives up waiting must not take the answer from the others.
        return await asyncio.shield(entry.value)

    def clear(self) -> None:
        self._entries.clear()
        self._refreshing.clear()

    def _refresh(self, key: Hashable) -> _Entry:
        """Begin to load, unless that has begun."""
        entry = self._refreshing.get(key)
        if entry is None:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries.clear()
            entry = _Entry(time.monotonic(), asyncio.ensure_future(self._load(key)))
            self._refreshing[key] = entry
            entry.value.add_done_callback(lambda _: self._loaded(key, entry))
        return entry

    def _loaded(self, key: Hashable, entry: _Entry) -> None:
        if self._refreshing.get(key) is entry:
            del self._refreshing[key]
        if entry.value.cancelled() or entry.value.exception() is not None:
            self._entries.pop(key, None)  # What was true a moment ago isn't any more.
        else:
            self._entries[key] = entry
            # A person's cipher must not outlive their data key here.
            entry.value.get_loop().call_later(self._ttl_s, self._forget, key, entry)

    def _forget(self, key: Hashable, entry: _Entry) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]


class SharedValue(Generic[Value]):
    """What `read` says, asked at most once in its time: who comes meanwhile waits for the same."""

    def __init__(self, read: Callable[[], Value]):
        self._read = read
        self._lock = threading.Lock()
        self._kept: tuple[float, Value] | None = None

    def get(self, ttl_s: float) -> Value:
        """As it was at most `ttl_s` ago."""
        with self._lock:
            begun = time.monotonic()
            if self._kept is None or begun - self._kept[0] >= ttl_s:
                self._kept = begun, self._read()
            return self._kept[1]

    def clear(self) -> None:
        self._kept = None
