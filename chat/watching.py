"""Follows replies that other processes write, with one query for all followers in this process.

All followers wake at the same ticks. The first one queries all replies that are followed, and the
others share the result. So many readers cost the database as much as one.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncGenerator

from chat import stored_replies
from chat.stored_replies import Snapshot, Version
from gateway.database import in_thread

TICK_S = 0.5

_followers: Counter[uuid.UUID] = Counter()
_found: dict[uuid.UUID, tuple[Version, Snapshot] | None] = {}  # as long as they are followed
_look: asyncio.Task | None = None
_looked_at = 0.0


async def looks(reply_id: uuid.UUID) -> AsyncGenerator[Snapshot]:
    """Yield the reply at once and at each tick, changed or not. Ends when it was deleted."""
    now = asyncio.get_running_loop().time
    _followers[reply_id] += 1
    try:
        while found := await _fresh(reply_id):
            yield found[1]
            await asyncio.sleep(TICK_S - now() % TICK_S)
    finally:
        _followers[reply_id] -= 1
        if not _followers[reply_id]:
            del _followers[reply_id]
            _found.pop(reply_id, None)


async def _fresh(reply_id: uuid.UUID) -> tuple[Version, Snapshot] | None:
    """Return what a query found, at most half a tick ago."""
    global _look
    now = asyncio.get_running_loop().time
    while reply_id not in _found or now() - _looked_at > TICK_S / 2:
        if _look is None or _look.done():
            _look = asyncio.create_task(_look_at_all())
        await asyncio.shield(_look)
    return _found[reply_id]


async def _look_at_all() -> None:
    global _looked_at
    known = {one: found[0] if (found := _found.get(one)) else None for one in _followers}
    changed = await in_thread(stored_replies.read_changed, known)
    _looked_at = asyncio.get_running_loop().time()
    _found.update({one: found for one, found in changed.items() if one in _followers})
