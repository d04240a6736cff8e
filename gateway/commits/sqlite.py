"""Runs batches on SQLite, with Django's connection, in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from django.db import connections

from gateway.commits.operations import Decided, Operation

Asked = tuple[list[Operation], Decided, asyncio.Future]


class SqliteEngine:
    """Runs each batch by calling `apply` in the thread that owns the connection."""

    # So often the event loop gives newly arrived requests a turn before the next batch is taken.
    # Batch and requests share one processor, and one large batch costs less than two small ones.
    idle_turns = 4

    def __init__(self, apply: Callable[[list[Operation], Decided], list[Any]]) -> None:
        self._apply = apply
        self._asked: SimpleQueue[Asked | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(
        self, operations: list[Operation], decided: Decided | None = None, lock_wait_ms: int = 0
    ) -> list[Any]:
        """Apply `operations` in one transaction. Raises django.db.Error.

        SQLite locks no single account, so `lock_wait_ms` is ignored: it is for Postgres.
        """
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._serve, name="commit", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def tell(results: list[Any]) -> None:
            if decided is not None:
                loop.call_soon_threadsafe(decided, results)

        self._asked.put((operations, tell, future))
        return await future

    async def free(self, account_ids: list[str], lock_wait_ms: int) -> set[str]:
        """Return all accounts: SQLite locks no single one."""
        return set(account_ids)

    async def close(self) -> None:
        if self._thread is not None:
            self._asked.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _serve(self) -> None:
        while asked := self._asked.get():
            operations, decided, future = asked
            outcome = self._outcome(operations, decided)
            future.get_loop().call_soon_threadsafe(_resolve, future, outcome)
        connections["default"].close()  # A connection belongs to its thread: close it from here.

    def _outcome(self, operations: list[Operation], decided: Decided) -> list[Any] | Exception:
        try:
            return self._apply(operations, decided)
        except Exception as error:  # noqa: BLE001 - the event loop raises it for the caller
            return error


def _resolve(future: asyncio.Future, outcome: list[Any] | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
