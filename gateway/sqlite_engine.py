"""Runs batches on SQLite, on Django's connection, in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from django.db import connections

from gateway.batch import Operation


class SqliteEngine:
    """`apply` runs a batch on the connection of its thread."""

    def __init__(self, apply: Callable[[list[Operation]], list[Any]]) -> None:
        self._apply = apply
        self._asked: SimpleQueue[tuple[list[Operation], asyncio.Future] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, operations: list[Operation]) -> list[Any]:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._serve, name="commit", daemon=True)
            self._thread.start()
        future = asyncio.get_running_loop().create_future()
        self._asked.put((operations, future))
        return await future

    async def close(self) -> None:
        if self._thread is not None:
            self._asked.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _serve(self) -> None:
        while asked := self._asked.get():
            operations, future = asked
            outcome = self._outcome(operations)
            future.get_loop().call_soon_threadsafe(_resolve, future, outcome)
        connections["default"].close()  # Looked up here: a connection belongs to its thread.

    def _outcome(self, operations: list[Operation]) -> list[Any] | Exception:
        try:
            return self._apply(operations)
        except Exception as error:  # noqa: BLE001 - for the loop, which waits for it
            return error


def _resolve(future: asyncio.Future, outcome: list[Any] | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
