"""Small caches in this process whose entries live for about a second.

ShortCache is for the event loop, SharedValue for pages, which are made in threads. A second is
long enough that a busy key or the catalogue costs no query per request, and short enough that a
revoked key or a disabled route is out of use everywhere within two seconds. An entry in frequent
use is reloaded before it expires, so that no request waits for it.
"""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from django.db import DatabaseError, OperationalError

Value = TypeVar("Value")

MAX_ENTRIES = 10_000
REFRESHED_AFTER = 0.5  # This part of its lifetime.


@dataclasses.dataclass(slots=True)
class _Entry:
    """A value, and when its loading began: the value was true then or later."""

    begun_at: float
    value: asyncio.Future


class ShortCache:
    """Calls `load` once per key and lifetime, however many callers wait. Errors aren't kept."""

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
        # Shielded: a caller that stops waiting must not cancel the load for the others.
        return await asyncio.shield(entry.value)

    def clear(self) -> None:
        self._entries.clear()
        self._refreshing.clear()

    def _refresh(self, key: Hashable) -> _Entry:
        """Start loading unless that has already started."""
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
            self._entries.pop(key, None)  # The old value can't be trusted after a failed reload.
        else:
            self._entries[key] = entry
            # An unused entry is dropped, too: a person's cipher must not outlive their data key.
            entry.value.get_loop().call_later(self._ttl_s, self._forget, key, entry)

    def _forget(self, key: Hashable, entry: _Entry) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]


class SharedValue(Generic[Value]):
    """Calls `read` at most once per lifetime. Callers in the meantime wait for the same value.

    They share a failure of the database too: if each tried for itself, the last would wait for the
    timeouts of all.
    """

    def __init__(self, read: Callable[[], Value]):
        self._read = read
        self._lock = threading.Lock()
        self._kept: tuple[float, Value] | None = None
        self._failures = 0

    def get(self, ttl_s: float) -> Value:
        """Return the value as it was at most `ttl_s` ago."""
        failures = self._failures
        with self._lock:
            begun = time.monotonic()
            if self._kept is None or begun - self._kept[0] >= ttl_s:
                if self._failures != failures:
                    raise OperationalError("the read that this waited for has failed")
                self._kept = begun, self._counted_read()
            return self._kept[1]

    def _counted_read(self) -> Value:
        try:
            return self._read()
        except DatabaseError:
            self._failures += 1
            raise

    def clear(self) -> None:
        self._kept = None
