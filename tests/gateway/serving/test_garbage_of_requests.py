"""Requests leave nothing for the garbage collector, however they end: it runs rarely, and what
waits for it holds bodies of megabytes.
"""

import pytest

from gateway.serving import completions
from tests.gateway.conftest import two_routes
from tests.support.factories import make_key
from tests.support.gateway.garbage import CHAT, ask, garbage_of
from tests.support.live import Customer
from tests.support.provider.scripts import (
    Bytes,
    Close,
    Head,
    Reset,
    WaitFor,
    answer,
    chunk,
    either,
    error,
    sse,
    stream,
)

WITHOUT_PROCESS = None
HEAD_AND_HELLO = [Head(), Bytes(sse(chunk({"content": "Hello "})))]
ENDS = {
    "whole": either(stream("Hello"), answer("Hello")),
    "empty": either(stream([]), answer("")),
    "declined": error(400, "No"),
    "busy": error(429, "Later"),
    "failed": error(500),
    "garbled": [Head(), Bytes(b"<html>"), Close()],
    "reset": [Reset()],
    "broken off": [*HEAD_AND_HELLO, Reset()],
}


@pytest.fixture
def customer(scripted):
    return Customer(WITHOUT_PROCESS, unlimited=True)


@pytest.fixture
def poor(scripted):
    return Customer(WITHOUT_PROCESS, unlimited=True, balance_nano=0)


def asking(text: str, **fields) -> dict:
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], **fields}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, asking("Hello", temperature="hot"), 400),
        (CHAT, asking("Hello", model="none-such"), 400),
        (CHAT, asking("Hello", max_tokens=50), 402),
        ("/v1/messages", asking("Hello", max_tokens=50), 402),
        (CHAT, b'{"model": ', 400),
        (CHAT, b" " * 10_000_001, 413),
        ("/v1/messages/count_tokens", b"[]", 400),
        ("/v1/nothing", b"", 404),
    ],
)
def test_a_refusal_leaves_no_garbage(poor, path, body, status):
    async def story():
        assert await ask(poor, body, path=path) == status

    assert not garbage_of(story)


def test_a_limit_leaves_no_garbage(scripted):
    customer = Customer(WITHOUT_PROCESS)
    customer.key, customer.key_text = make_key(customer.user, requests_per_minute=1)

    async def story():
        await ask(customer, asking("x" * 100_000))

    assert not garbage_of(story)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_an_answer_leaves_no_garbage(customer, fake, end, streamed):
    prompt = fake.script(ENDS[end])

    async def story():
        await ask(customer, asking(prompt, stream=streamed))

    assert not garbage_of(story)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failover_leaves_no_garbage(customer, fake, streamed):
    route = two_routes(fake.base_url, fake.base_url)
    prompt = fake.script_attempts([error(500), either(stream("Hello"), answer("Hello"))] * 4)

    async def story():
        body = asking(prompt, model=route.model.slug, stream=streamed)
        assert await ask(customer, body) == 200

    assert not garbage_of(story)


def test_an_upload_that_is_left_leaves_no_garbage(customer):
    async def story():
        assert await ask(customer, b"{", is_whole=False) is None

    assert not garbage_of(story)


def test_a_repeat_that_is_refused_leaves_no_garbage(scripted, fake):
    keeping_nothing = Customer(WITHOUT_PROCESS, unlimited=True)
    _, keeping_nothing.key_text = make_key(keeping_nothing.user, retention_days=0)
    body = asking(fake.script(answer("Hello")))

    async def story():
        await ask(keeping_nothing, body, **{"Idempotency-Key": "one"})

    assert not garbage_of(story)


def test_a_fault_of_ours_leaves_no_garbage(customer, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("a fault")

    monkeypatch.setattr(completions, "resolve", fail)

    async def story():
        assert await ask(customer, asking("Hello")) == 500

    assert not garbage_of(story)


def test_a_hang_up_leaves_no_garbage(customer, fake):
    prompt = fake.script([*HEAD_AND_HELLO, WaitFor("never")])

    async def story():
        await ask(customer, asking(prompt, stream=True), hang_up_at="Hello")

    assert not garbage_of(story)
