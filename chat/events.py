"""A growing reply as server-sent events, with HTML that can be put into the page.

An `update` holds, for the text and for the reasoning, the blocks that were finished since the last
update and the block that is still open. The first update of a connection holds everything so far,
so a new connection needs no history. `over` ends the stream.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import asdict
from typing import TypeVar

import orjson

from chat.growing import Growing
from chat.stored_replies import Snapshot
from gateway.untrusted.code import highlight_soon

# The share of the time between two updates that may go into rendering one. A list or a block of
# code is rendered again for each update until it ends, so a long one is updated less often.
LARGEST_SHARE = 0.1
LONGEST_PAUSE_S = 2.0
NOTHING_NEW = b": still here\n\n"
# Whole replies wait for the highlighting of their code here, where no update waits behind them.
_endings = ThreadPoolExecutor(4, thread_name_prefix="chat-endings")
T = TypeVar("T")
# There is nothing to send, but the server asks for more only once all before it has been sent. So a
# snapshot has left this process when the next is asked for.
FLUSH = b""


async def of(
    snapshots: AsyncGenerator[Snapshot], *, at_the_end: Callable[[Snapshot], dict]
) -> AsyncGenerator[bytes]:
    """Yield the events of a reply. `at_the_end` makes the content of the last one, in a thread."""
    parts = {"text": Growing(), "reasoning": Growing()}
    last: Snapshot | None = None
    async with aclosing(snapshots):
        async for snapshot in snapshots:
            if snapshot.is_over:
                loop = asyncio.get_running_loop()
                yield event("over", await loop.run_in_executor(_endings, at_the_end, snapshot))
                return
            if snapshot == last:
                yield NOTHING_NEW
                continue
            update, took_s = await _update(snapshot, parts)
            yield event("update", {**update, "first": last is None})
            yield FLUSH
            last = snapshot
            await asyncio.sleep(min(took_s / LARGEST_SHARE, LONGEST_PAUSE_S))


async def _update(snapshot: Snapshot, parts: dict[str, Growing]) -> tuple[dict, float]:
    """Return the content for the page, and the seconds that we and the helper took for it.

    Threads parse and render, because a long block takes a while and this loop serves other streams.
    """
    texts = {"text": snapshot.text, "reasoning": snapshot.reasoning}
    grown, parsed_s = await asyncio.to_thread(
        _timed, lambda: {name: parts[name].parse(text) for name, text in texts.items()}
    )
    begun = time.monotonic()
    highlighted = await highlight_soon(code for one in grown.values() for code in one.codes)
    waited_s = time.monotonic() - begun
    news, rendered_s = await asyncio.to_thread(
        _timed,
        lambda: {name: asdict(parts[name].update(grown[name], highlighted)) for name in parts},
    )
    update = {"id": str(snapshot.id), "state": snapshot.state, **news}
    return update, parsed_s + waited_s + rendered_s


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what `work` returns, and the seconds of this thread that it took."""
    begun = time.thread_time()
    result = work()
    return result, time.thread_time() - begun


def event(name: str, content: dict) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(content))
