"""Requests to the gateway in this process, and what they leave for the garbage collector."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import orjson
import uvloop

from gateway.v1.handler import close, gateway_application
from tests.support.live import Customer

CHAT = "/v1/chat/completions"
REPEATS = 2
SETTLES_WITHIN_S = 0.03
OF_A_QUERY = ("builtins.cell", "builtins.function", "builtins.tuple")  # Django leaves one of each.


async def ask(
    customer: Customer,
    body: dict | bytes,
    *,
    path: str = CHAT,
    is_whole: bool = True,
    hang_up_at: str = "",
    **headers: str,
) -> int | None:
    """Post to the gateway in this process. Return the status.

    The client hangs up if the body isn't whole, or once it has read `hang_up_at`.
    """
    arriving: asyncio.Queue = asyncio.Queue()
    statuses = []

    async def send(message: dict) -> None:
        statuses.append(message.get("status"))
        if hang_up_at and hang_up_at.encode() in message.get("body", b""):
            arriving.put_nowait({"type": "http.disconnect"})

    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    arriving.put_nowait({"type": "http.request", "body": raw, "more_body": not is_whole})
    if not is_whole:
        arriving.put_nowait({"type": "http.disconnect"})
    fields = {**customer.headers, "content-type": "application/json", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
    }
    await gateway_application(scope, arriving.get, send)
    return statuses[0] if statuses else None


def garbage_of(story: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Return by type what only the collector would free after some runs of `story`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # As in the web process.
        found = runner.run(_left_by(story))
    kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in found)
    for kind in OF_A_QUERY:
        del kinds[kind]
    return kinds


async def _left_by(story: Callable[[], Awaitable[object]]) -> list:
    try:
        await story()  # Caches fill, connections are made.
        await asyncio.sleep(SETTLES_WITHIN_S)
        gc.disable()
        gc.freeze()  # Only what comes from now on is searched.
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(REPEATS):
            await story()
        await asyncio.sleep(SETTLES_WITHIN_S)
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
        await close()
