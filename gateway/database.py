"""Using the database from the event loop: in a thread that gives its connection back.

While the database is silent the few threads wait, each until the limit of its connection. Nobody
waits behind them for longer than DATABASE_TIMEOUT_S: that fails as if the database were away.

A connection to Postgres goes back to the pool. One to SQLite stays with its thread, since opening
it reads the whole schema.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import OperationalError, connections
from django.http import HttpRequest

Part = TypeVar("Part", str, bytes)

_threads = ThreadPoolExecutor(4, thread_name_prefix="read")


async def in_thread(function: Callable, *arguments: Any) -> Any:
    """Call `function`, which may use the ORM, without blocking the event loop.

    Raises OperationalError if no thread gets to it in time. Once it has begun it is waited for.
    """
    work = _threads.submit(_with_connections_given_back, function, arguments)
    result = asyncio.wrap_future(work)
    try:
        done, _ = await asyncio.wait({result}, timeout=settings.DATABASE_TIMEOUT_S)
    except asyncio.CancelledError:
        result.cancel()
        raise
    if not done and work.cancel():
        raise OperationalError("no thread was free for the database in time")
    return await result


async def read_in_thread(function: Callable, *arguments: Any) -> Any:
    """Call `function`, which changes nothing or may be repeated, and wait at most the limit.

    Raises OperationalError when that has passed, even if `function` is still running.
    """
    try:
        async with asyncio.timeout(settings.DATABASE_TIMEOUT_S):
            return await in_thread(function, *arguments)
    except TimeoutError as late:
        raise OperationalError("the database took too long") from late


def _with_connections_given_back(function: Callable, arguments: tuple) -> Any:
    try:
        return function(*arguments)
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.vendor != "sqlite" or connection.errors_occurred:
                connection.close()


def give_connections_back() -> None:
    """Close this thread's connections before it waits for a client.

    There are few of them, and a slow client would keep one from everybody else.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def by_part(request: HttpRequest, parts: Iterator[Part]) -> Iterator[Part] | AsyncIterator[Part]:
    """Return `parts` for a streaming response to `request`, so that each is read when it is sent.

    Under ASGI Django would read a plain iterator to its end before it sends anything.
    """
    return _each_in_thread(parts) if hasattr(request, "scope") else parts


async def _each_in_thread(parts: Iterator[Part]) -> AsyncIterator[Part]:
    following = sync_to_async(next_part)
    while (part := await following(parts)) is not None:
        yield part


def next_part(parts: Iterator[Part]) -> Part | None:
    """Return the next part, or None after the last.

    No connection is kept between two parts, as the client may be slow.
    """
    try:
        return next(parts, None)
    finally:
        give_connections_back()
