"""What became of a request to a live gateway: what its client read, and what it was charged.

A token of input costs 100 nano-dollars at a test's route, a cached one 50, one of output 400.
"""

import contextlib
import http.client
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

import orjson
import pytest
import requests

from billing.pricing import NANO_PER_USD
from gateway.commits.reconcile import differences
from gateway.models import ApiRequest
from tests.support.live import USD, Customer
from tests.support.provider.scripts import Done, End, Event, answer, chunk, either, stream, usage_of

INPUT, CACHED, OUTPUT = 100, 50, 400
HELLO = Event(chunk({"content": "Hello "}))  # 6 bytes
WORLD = Event(chunk({"content": "World"}))  # 5 bytes
STOP = Event(chunk({}, finish_reason="stop"))
END = [Done(), End()]
TEXT = "Grüße 🌍 aus Oslo"
USAGE = usage_of(10, 2)
PRICE = 10 * INPUT + 2 * OUTPUT  # of USAGE
GOOD = either(stream(TEXT, usage=USAGE), answer(TEXT, extra={"usage": USAGE}))
# What a client is told: the status and the type of the error.
UNAVAILABLE = (502, "provider_unavailable")
OVERLOADED = (503, "provider_overloaded")
TIMEOUT = (504, "timeout")
# What a provider may say and no client may hear.
LEAK = "sk-Zx9-kQ2 of org-77zq at https://gpu7.internal/v1 (10.1.2.3:80), ask ops@gpu.example"
LEAKED = re.compile(r"Zx9|kQ2|77zq|gpu7|10\.1\.2\.3|ops@|gpu\.example")
both = pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])


# --- Reading what came ---------------------------------------------------------------------------


def events_of(response: requests.Response) -> Iterator[dict | str]:
    """The events of a stream, as they come; comments are passed over."""
    for line in response.iter_lines(chunk_size=None):
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ")
            yield "[DONE]" if data == b"[DONE]" else orjson.loads(data)


def text_of(events: Iterable[dict | str]) -> str:
    choices = [one["choices"][0] for one in events if one != "[DONE]" and one["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def read_until(events: Iterator[dict | str], text: str) -> None:
    assert any(text_of([one]) == text for one in events)


def finished(customer: Customer, streamed: bool, prompt: str, **fields) -> dict:
    """The usage that a complete answer came with."""
    if not streamed:
        response = customer.ask(prompt, **fields)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert response.headers["X-Generation-Id"] == answer["id"]
        assert float(response.headers["x-kyma-cost"]) == answer["usage"]["cost"]
        return answer["usage"]
    options = {"include_usage": True}
    response = customer.ask(prompt, stream=True, stream_options=options, **fields)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    *events, last, done = events_of(response)
    assert done == "[DONE]"
    assert last["choices"] == []
    assert all(one["usage"] is None for one in events)
    return last["usage"]


def broken_off(events: Iterable[dict | str], status: int, error_type: str) -> None:
    """The stream ended with an error event, and nothing after it."""
    *earlier, last = events
    assert "[DONE]" not in earlier
    assert last["object"] == "chat.completion.chunk"
    assert last["id"].startswith("chatcmpl-")
    assert all(one["id"] == last["id"] for one in earlier)
    assert last["error"]["code"] == status
    assert last["error"]["metadata"] == {"error_type": error_type}
    assert last["error"]["message"]
    assert last["choices"] == [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]


def refused(response: requests.Response, status: int, error_type: str) -> dict:
    """The client got this error, in the shape that clients read. Returns it."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"error", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["error"].keys() == {"message", "type", "param", "code", "metadata"}
    assert body["error"]["metadata"]["error_type"] == error_type
    assert not LEAKED.search(response.text)
    return body["error"]


# --- Looking at the money ------------------------------------------------------------------------


def billed(customer: Customer, nano: int, **columns) -> ApiRequest:
    """The one request cost this and left no hold, and its row says so. Returns the row."""
    row = customer.settled_request()
    said = {name: getattr(row, name) for name in (*columns, "cost_nano")}
    assert said == {**columns, "cost_nano": nano}, said
    assert [one.amount_nano for one in customer.usage_entries()] == ([-nano] if nano else [])
    assert (customer.balance_nano(), customer.held_nano()) == (USD - nano, 0)
    wrong = list(differences(customer.account.id))
    assert not wrong, wrong
    return row


def paid(customer: Customer, cost_usd: float) -> ApiRequest:
    """The price in the only answer is to the nano-dollar what the ledger took. Returns the row."""
    row = customer.settled_request()
    (entry,) = customer.usage_entries()
    assert entry.request_id == row.id
    assert row.cost_nano > 0
    assert -entry.amount_nano == row.cost_nano
    assert Decimal(repr(cost_usd)) * NANO_PER_USD == row.cost_nano
    assert customer.balance_nano() == USD - row.cost_nano
    return row


def free(customer: Customer, status: int, error_type: str, *faults: str, **columns) -> ApiRequest:
    """Nothing was billed, and the log knows of each attempt what was wrong."""
    row = billed(
        customer, 0, outcome="upstream-failed", status=status, error_type=error_type, **columns
    )
    assert [one["error"] for one in row.attempts] == list(faults)
    assert (row.prompt_tokens, row.upstream_cost_nano) == (0, None)
    return row


def estimate(prompt: str, content_bytes: int) -> tuple[int, int]:
    return -(-len(prompt.encode()) // 4), -(-content_bytes // 4)


@contextlib.contextmanager
def posted(customer: Customer, prompt: str, **fields) -> Iterator[http.client.HTTPConnection]:
    """A request whose client need not read, and hangs up at the end of the block."""
    body = {"model": "scripted", "messages": [{"role": "user", "content": prompt}], **fields}
    connection = http.client.HTTPConnection("127.0.0.1", customer.gateway.port)
    headers = {**customer.headers, "Content-Type": "application/json"}
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", orjson.dumps(body), headers)
        yield connection
