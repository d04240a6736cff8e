"""A request leaves nothing behind that only Python's garbage collector could find.

That would be hundreds of objects a second, in memory until it runs, and out of the processor's
caches when it does.
"""

import asyncio
import gc

import pytest

from tests.support.gateway.in_process import served
from tests.support.provider.scripts import answer, either
from tests.support.provider.scripts import stream as scripted_stream

KINDS = (asyncio.Task, BaseException)


@pytest.fixture
def collected():
    """The tasks and exceptions that the collector finds, kept instead of freed."""
    while gc.collect():
        pass  # What other tests have left.
    gc.disable()
    yield lambda: [one for one in _found() if issubclass(type(one), KINDS)]
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def _found() -> list:
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    return gc.garbage


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_leaves_no_garbage(customer, fake, collected, stream):
    prompt = fake.script(either(scripted_stream("Hello"), answer("Hello")))
    bodies: list[bytes] = []

    def sent(message: dict, arriving: asyncio.Queue) -> None:
        bodies.append(message.get("body", b""))

    asyncio.run(served(customer, prompt, sent, stream=stream))
    assert b"Hello" in b"".join(bodies)
    assert collected() == []
