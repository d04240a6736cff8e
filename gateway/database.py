"""Reading the database from the event loop: in a thread, with its connection given back.

Postgres' goes back to the pool. SQLite's stays with its thread: opening one reads all the schema.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections

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
