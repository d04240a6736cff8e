"""The lease of this web process, by which the sweeper knows that its holds aren't abandoned.

A web process has a row (`WebProcess`) and adds one to its beat every LEASE_BEAT_INTERVAL_S. The
sweeper looks at all rows and takes a process for dead after `deaths.MISSES` looks without a new
beat. Nothing compares clocks of two machines: without looks nobody dies, however long a beat is
late.

A process that was frozen may be dead without knowing it. So before it reserves, its last good beat
must have begun within LEASE_FRESH_S, by a clock that runs on while a machine sleeps; otherwise it
beats first. The beat of a dead process changes no row, and it goes on under a new id. Its former
holds are swept, and their settlements find no hold.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
import time

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections

from accounts.ids import uuid7
from gateway.commits.lease_rows import PostgresRows, Pulse, SqliteRows
from gateway.commits.waiting import CommitFailed

logger = logging.getLogger(__name__)

RETRY_S = 1.0  # The pause after a beat that failed.
_FAILURES = (psycopg.Error, DatabaseError, OSError, TimeoutError)
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class NoLease(CommitFailed):
    """The database took no beat, so a hold of this process might be swept at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Beat:
    """A good beat: the id it was for, when it began by this process's clock, and its answer."""

    process_id: str
    begun: float
    pulse: Pulse

    @property
    def age_s(self) -> float:
        return time.clock_gettime(_CLOCK) - self.begun

    @property
    def database_time(self) -> dt.datetime:
        """The database's time now. It doesn't depend on what this machine takes for the date."""
        return dt.datetime.fromtimestamp(self.pulse.now + self.age_s, dt.UTC)


class Lease:
    """Belongs to the event loop in which it is first used."""

    def __init__(self, rows: PostgresRows | SqliteRows):
        self._rows = rows
        self._last: Beat | None = None
        self._keeping: asyncio.Task | None = None
        self._trying: asyncio.Task | None = None
        self._began = time.clock_gettime(_CLOCK)

    async def fresh(self) -> Beat:
        """Return a beat that began within LEASE_FRESH_S. Raises NoLease."""
        if self._last is None or self._last.age_s >= settings.LEASE_FRESH_S:
            try:
                async with asyncio.timeout(settings.ADMISSION_TIMEOUT_S):
                    return await self._beat()
            except TimeoutError as error:
                raise NoLease("the database took too long") from error
        return self._last

    def keep(self) -> None:
        """Beat from now on, until the lease is closed."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_on(), name="lease")

    async def close(self) -> None:
        """End the lease. The holds of this process have ended, or are to be swept."""
        tasks = [task for task in (self._keeping, self._trying) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            if self._last is not None:
                await self._rows.end(self._last.process_id, settings.LEASE_BEAT_TIMEOUT_S)
        except _FAILURES as error:
            logger.error("the lease could not be ended: %s", type(error).__name__)
        await self._rows.close()

    @property
    def sweeper_silent_s(self) -> float:
        """The time since a sweeper last ran, as far as this process can know.

        A process that has just started doesn't complain about the time before.
        """
        if self._last is None:
            return 0
        silent_s = self._last.pulse.sweeper_silent_s
        lifetime_s = time.clock_gettime(_CLOCK) - self._began
        return lifetime_s if silent_s is None else min(silent_s, lifetime_s)

    @property
    def oldest_transaction_s(self) -> float:
        """The age of the database's oldest transaction, as the sweeper last saw it."""
        return 0 if self._last is None else self._last.pulse.oldest_transaction_s

    async def _keep_on(self) -> None:
        while True:
            try:
                await self._beat()
            except NoLease as failure:
                logger.warning("no beat: %s", failure)
                await asyncio.sleep(RETRY_S)
            else:
                await asyncio.sleep(settings.LEASE_BEAT_INTERVAL_S)

    async def _beat(self) -> Beat:
        """Return a new beat; all who ask at the same time share it. Raises NoLease."""
        self.keep()
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._try(), name="beat")
            self._trying.add_done_callback(_read)
        return await asyncio.shield(self._trying)

    async def _try(self) -> Beat:
        begun, timeout_s = time.clock_gettime(_CLOCK), settings.LEASE_BEAT_TIMEOUT_S
        process_id, pulse = "", None
        try:
            if self._last is not None:
                process_id = self._last.process_id
                pulse = await self._rows.beat(process_id, timeout_s)
                if pulse is None:
                    logger.warning("process %s was taken for dead: its holds are void", process_id)
            if pulse is None:
                process_id = uuid7().hex
                pulse = await self._rows.open(process_id, timeout_s)
        except _FAILURES as error:
            raise NoLease(type(error).__name__) from error
        self._last = Beat(process_id, begun, pulse)
        return self._last


def _read(task: asyncio.Task) -> None:
    """Mark a failure as read: asyncio warns if all who asked for the beat have left."""
    if not task.cancelled():
        task.exception()


_lease: Lease | None = None


def lease() -> Lease:
    """Return the lease of this process."""
    global _lease
    if _lease is None:
        is_postgres = connections["default"].vendor == "postgresql"
        _lease = Lease(PostgresRows() if is_postgres else SqliteRows())
    return _lease


def current() -> Lease | None:
    """Return the lease of this process if it has one."""
    return _lease


async def close() -> None:
    """End the lease. The next use begins another one."""
    global _lease
    if _lease is not None:
        ending, _lease = _lease, None
        await ending.close()
