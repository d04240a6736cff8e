"""A reply as it grows, as server-sent events whose HTML is ready to stand in the page.

Each `update` holds, of the text and of the reasoning, the blocks that are finished since the last
one and the block that is still open. The first of a connection holds everything so far: whoever
connects anew begins anew. `over` ends it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import orjson

from chat.markdown import Streaming
from chat.stored_replies import Snapshot

# Of the time between two updates, what may go into rendering one: a list or a piece of code is
# rendered anew until it ends, and the longer it gets the less often that happens.
LARGEST_SHARE = 0.1
LONGEST_PAUSE_S = 2.0
NOTHING_NEW = b": still here\n\n"


async def of(
    snapshots: AsyncGenerator[Snapshot], *, at_the_end: Callable[[Snapshot], dict]
) -> AsyncGenerator[bytes]:
    """The events of a reply; `at_the_end` makes what the last of them holds, in a thread."""
    text, reasoning = Streaming(), Streaming()
    last: Snapshot | None = None
    async with aclosing(snapshots):
        async for snapshot in snapshots:
            if snapshot.is_over:
                yield event("over", await asyncio.to_thread(at_the_end, snapshot))
                return
            if snapshot == last:
                yield NOTHING_NEW
                continue
            # In a thread: a long block takes a while, and others stream here too.
            update, took_s = await asyncio.to_thread(_update, snapshot, text, reasoning)
            yield event("update", {**update, "first": last is None})
            last = snapshot
            await asyncio.sleep(min(took_s / LARGEST_SHARE, LONGEST_PAUSE_S))


def _update(snapshot: Snapshot, text: Streaming, reasoning: Streaming) -> tuple[dict, float]:
    """What the page gets, and the seconds of this thread that it took."""
    begun = time.thread_time()
    said, thought = text.update(snapshot.text), reasoning.update(snapshot.reasoning)
    update = {
        "id": str(snapshot.id),
        "state": snapshot.state,
        "text": {"closed": said.closed, "open": said.open},
        "reasoning": {"closed": thought.closed, "open": thought.open},
    }
    return update, time.thread_time() - begun


def event(name: str, content: dict) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(content))
