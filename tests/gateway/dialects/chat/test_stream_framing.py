"""A stream arrives whole at whatever borders, and with whatever line ends, its bytes come."""

import pytest

from tests.support.gateway.receipts import PRICE, TEXT, USAGE, billed, events_of, text_of
from tests.support.live import Customer
from tests.support.provider.scripts import (
    Bytes,
    Close,
    Done,
    End,
    Event,
    Head,
    RawBytes,
    Script,
    Split,
    stream,
)

BUSY = b": busy\n\n"


def bytes_of(steps) -> bytes:
    """The body that these steps make, without its framing as HTTP."""
    return b"".join(step.data for step in steps if isinstance(step, Event | Done))


WHOLE = bytes_of(stream(TEXT, usage=USAGE))
CLOSING = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
FRAMED = {
    "every byte apart": [Head(), Split(WHOLE, every=1, gap_s=0.001), End()],
    "all at once": [Head(), Bytes(WHOLE), End()],
    "seven bytes at a time": [Head(), Split(WHOLE, every=7), End()],
    "CRLF": [Head(), Split(WHOLE.replace(b"\n", b"\r\n"), every=5), End()],
    "CR": [Head(), Split(WHOLE.replace(b"\n", b"\r"), every=5), End()],
    "comments": [Head(), Bytes(BUSY + WHOLE.replace(b"\n\n", b"\n\n" + BUSY)), End()],
    "named events": [Head(), Bytes(WHOLE.replace(b"data: ", b"event: x\nid: 1\ndata:")), End()],
    "mark": [Head(), Split(b"\xef\xbb\xbf" + WHOLE, every=2), End()],
    "charset": [
        Head(200, {"content-type": "text/event-stream; charset=utf-8"}),
        Bytes(WHOLE),
        End(),
    ],
    "to the end of the connection": [RawBytes(CLOSING), RawBytes(WHOLE), Close()],
    "no blank line at the end": [Head(), Bytes(WHOLE.removesuffix(b"\n\n")), End()],
    "no [DONE]": [Head(), Bytes(bytes_of(stream(TEXT, usage=USAGE, done=False))), End()],
    "no finish reason": [
        Head(),
        Bytes(bytes_of(stream(TEXT, usage=USAGE, finish_reason=None))),
        End(),
    ],
    "more after [DONE]": [Head(), Bytes(WHOLE + b"data: {broken\n\n"), Close()],
    "100 first": [Head(100, {}), Head(), Bytes(WHOLE), End()],
}


def arrives(customer: Customer, fake, steps: Script) -> None:
    prompt = fake.script(steps)
    events = list(events_of(customer.ask(prompt, stream=True)))
    assert events.pop() == "[DONE]"
    assert text_of(events) == TEXT
    billed(customer, PRICE, outcome="finished", estimated=False)


@pytest.mark.parametrize("steps", FRAMED.values(), ids=FRAMED)
def test_a_stream_arrives_however_it_is_framed(customer, fake, steps):
    arrives(customer, fake, steps)


@pytest.mark.parametrize("border", range(1, len(WHOLE), len(WHOLE) // 24))
def test_a_stream_arrives_wherever_it_is_cut(customer, fake, border):
    arrives(customer, fake, [Head(), Split(WHOLE, sizes=(border,), gap_s=0.002), End()])


def test_a_large_event_arrives(customer, fake):
    prompt = fake.script(stream(["x" * 900_000], usage=USAGE))
    events = list(events_of(customer.ask(prompt, stream=True)))
    assert text_of(events[:-1]) == "x" * 900_000
    billed(customer, PRICE)
