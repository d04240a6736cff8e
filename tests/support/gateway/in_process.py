"""One answer from the gateway's ASGI application in this process, without a server."""

import asyncio
from collections.abc import Callable

import orjson

from gateway.v1.handler import close, gateway_application
from tests.support.live import Customer


async def served(
    customer: Customer,
    prompt: str,
    sent: Callable[[dict, asyncio.Queue], None],
    *,
    stream: bool = True,
) -> None:
    """Serve one answer; `sent` gets each message of the application's, and the queue of those that
    arrive.
    """
    arriving: asyncio.Queue = asyncio.Queue()

    async def send(message: dict) -> None:
        sent(message, arriving)

    messages = [{"role": "user", "content": prompt}]
    body = {"model": "scripted", "stream": stream, "messages": messages}
    arriving.put_nowait({"type": "http.request", "body": orjson.dumps(body)})
    headers = {**customer.headers, "content-type": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await gateway_application(scope, arriving.get, send)
    await close()
