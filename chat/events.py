"""A growing reply as server-sent events, with HTML that can be put into the page.

An `update` holds, for the text and for the reasoning, the blocks that were finished since the last
update and the block that is still open. The first update of a connection holds everything so far,
so a new connection needs no history. `over` ends the stream.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import orjson

from chat.markdown import Streaming
from chat.stored_replies import Snapshot

# The share of the time between two updates that may go into rendering one. A list or a block of
# code is rendered again for each update until it ends, so a long one is updated less often.
LARGEST_SHARE = 0.1
LONGEST_PAUSE_S = 2.0
NOTHING_NEW = b": still here\n\n"
# There is nothing to send, but the server asks for more only once all before it has been sent. So a
# snapshot has left this process when the next is asked for.
FLUSH = b""


async def of(
    snapshots: AsyncGenerator[Snapshot], *, at_the_end: Callable[[Snapshot], dict]
) -> AsyncGenerator[bytes]:
    """Yield the events of a reply. `at_the_end` makes the content of the last one, in a thread."""
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
            # In a thread, because a long block takes a while and this loop serves other streams.
            update, took_s = await asyncio.to_thread(_update, snapshot, text, reasoning)
            yield event("update", {**update, "first": last is None})
            yield FLUSH
            last = snapshot
            await asyncio.sleep(min(took_s / LARGEST_SHARE, LONGEST_PAUSE_S))


def _update(snapshot: Snapshot, text: Streaming, reasoning: Streaming) -> tuple[dict, float]:
    """Return the content for the page, and the seconds of this thread that it took."""
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
