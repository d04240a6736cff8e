"""Large bodies: a few of each account are read at once, after the rate limits admitted them.

Otherwise one account could fill the memory by sending all bodies of a minute at the same time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

AT_ONCE = 4  # for each account; a body has MAX_BODY_BYTES at the most

# The turns of the accounts whose large bodies are read now.
_turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()


class LargeBody:
    """The body of one request, if it proves to be large. `count` counts the request."""

    def __init__(self, account_id: str, count: Callable[[], Awaitable[None]] | None = None):
        self._account_id = account_id
        self._count = count
        self._turn: asyncio.Semaphore | None = None

    async def admit(self) -> None:
        """Wait until the body may be read. Raises TooManyRequests."""
        if self._count is not None:
            await self._count()
        turn = _turns.setdefault(self._account_id, asyncio.Semaphore(AT_ONCE))
        await turn.acquire()
        self._turn = turn

    def end(self) -> None:
        """Give the turn to the next, if there was one. Safe to repeat."""
        if self._turn is not None:
            self._turn.release()
            self._turn = None
