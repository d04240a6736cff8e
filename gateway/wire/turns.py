"""Large bodies of one account are read a few at a time.

The others wait at the client, which costs no memory here, and hold up no other account.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

AT_ONCE = 8

_waiting: dict[str, tuple[asyncio.Semaphore, int]] = {}


@contextlib.asynccontextmanager
async def turn_of(account_id: str) -> AsyncIterator[None]:
    """Wait until fewer than AT_ONCE large bodies of this account are being read."""
    semaphore, users = _waiting.get(account_id) or (asyncio.Semaphore(AT_ONCE), 0)
    _waiting[account_id] = semaphore, users + 1
    try:
        async with semaphore:
            yield
    finally:
        semaphore, users = _waiting[account_id]
        if users == 1:
            del _waiting[account_id]
        else:
            _waiting[account_id] = semaphore, users - 1
