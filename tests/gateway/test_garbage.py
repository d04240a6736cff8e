"""A request leaves nothing behind that only Python's garbage collector could find.

That would be hundreds of objects a second, in memory until it runs, and out of the processor's
caches when it does.
"""

import asyncio
import gc

import orjson
import pytest

from gateway.asgi import close, gateway_application
from tests.provider_scripts import answer, either, stream


@pytest.fixture
def collected():
    """What the collector finds, kept instead of freed."""
    gc.collect()
    gc.disable()
    yield lambda: [one for one in _found() if isinstance(one, asyncio.Task | BaseException)]
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def _found() -> list:
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    return gc.garbage


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_leaves_no_garbage(customer, fake, collected, streamed):
    prompt = fake.script(either(stream("Hello"), answer("Hello")))
    sent = asyncio.run(asked(customer, prompt, streamed=streamed))
    assert b"Hello" in sent
    assert collected() == []


async def asked(customer, prompt: str, *, streamed: bool) -> bytes:
    """The body of an answer that was asked for in this process, on a connection that stays."""
    sent: list[dict] = []
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "scripted", "messages": messages, "stream": streamed}
    arriving: asyncio.Queue = asyncio.Queue()
    arriving.put_nowait({"type": "http.request", "body": orjson.dumps(body)})
    headers = {**customer.headers, "content-type": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }

    async def send(message):
        sent.append(message)

    await gateway_application(scope, arriving.get, send)
    await close()
    return b"".join(message.get("body", b"") for message in sent)
