"""Reading the database from the event loop: in a thread, with its connection given back.

Postgres' goes back to the pool. SQLite's stays with its thread: opening one reads all the schema.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest

Part = TypeVar("Part", str, bytes)

_threads = ThreadPoolExecutor(4, thread_name_prefix="read")


async def in_thread(function: Callable, *arguments: Any) -> Any:
    """`function(*arguments)`, which may use the ORM, without holding up the event loop."""
    return await asyncio.get_running_loop().run_in_executor(
        _threads, _with_connections_given_back, function, arguments
    )


def _with_connections_given_back(function: Callable, arguments: tuple) -> Any:
    try:
        return function(*arguments)
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.vendor != "sqlite" or connection.errors_occurred:
                connection.close()


def give_connections_back() -> None:
    """Those of this thread, before it waits for a client: a slow one would keep one of few."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def by_part(request: HttpRequest, parts: Iterator[Part]) -> Iterator[Part] | AsyncIterator[Part]:
    """`parts` for a streaming response to `request`, each read when it is to be sent.

    Under ASGI a plain iterator would be read to its end before anything is sent.
    """
    return _each_in_thread(parts) if hasattr(request, "scope") else parts


async def _each_in_thread(parts: Iterator[Part]) -> AsyncIterator[Part]:
    following = sync_to_async(next_part)
    while (part := await following(parts)) is not None:
        yield part


def next_part(parts: Iterator[Part]) -> Part | None:
    """None after the last. Between two parts no connection is kept: the reader may be slow."""
    try:
        return next(parts, None)
    finally:
        give_connections_back()
