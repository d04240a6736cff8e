"""kill -9 while the other APIs answer: nobody is charged for what they don't have."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import orjson
import pytest

from gateway.models import Model
from tests.gateway.conftest import live_route
from tests.support.gateway.endpoint_answers import text_answer, text_stream, vectors_answer
from tests.support.gateway.kills import (
    _mortal_process,
    chance,
    check_books_of,
    killed,
    mortal,
    sweep,
    wait_for_the_moment,
)
from tests.support.gateway.receipts import INPUT, OUTPUT
from tests.support.gateway.wire_client import Answer, WireClient
from tests.support.live import Customer, Gateway, eventually
from tests.support.provider.scripts import Done, Script, WaitFor, answer, either, stream, usage_of

__all__ = ["_mortal_process", "chance", "mortal"]

PIECES = ["Every ", "answer ", "that ", "is ", "complete ", "has ", "its ", "receipt."]
TEXT = "".join(PIECES)
USAGE = usage_of(10, len(PIECES))
PRICE = 10 * INPUT + len(PIECES) * OUTPUT
EMBEDDER = "embedder-of-kills"
AT_ONCE = 4  # requests of each kind
WITHIN_S = 0.03  # about as long as all of them take to be settled


def held_up(steps: list, events: int) -> list:
    """The last steps wait for "the end", after this many others."""
    return [*steps[:events], WaitFor("the end"), *steps[events:]]


def ends(steps: list) -> int:
    return next(at for at, step in enumerate(steps) if isinstance(step, Done))


def chat() -> Script:
    events = stream(PIECES, usage=USAGE)
    plain = answer(TEXT, prompt_tokens=10, completion_tokens=len(PIECES))
    return either(held_up(events, ends(events)), held_up(plain, 0))


def text() -> Script:
    events = text_stream(*PIECES, usage=USAGE)
    return either(held_up(events, ends(events)), held_up(text_answer(TEXT, usage=USAGE), 0))


def vectors() -> Script:
    return held_up(vectors_answer([[0.5] * 8], usage=usage_of(10, 0)), 0)


@dataclass(frozen=True)
class Kind:
    """One of the APIs: what to ask, what the provider says, and what the caller reads in it."""

    path: str
    script: Callable[[], Script]
    body: Callable[[str], Mapping]
    text_in: Callable[[dict], str] = lambda event: ""
    price_nano: int = PRICE
    is_streamed: bool = True


def said_in_message(event: dict) -> str:
    return event["delta"].get("text", "") if event["type"] == "content_block_delta" else ""


def said_in_response(event: dict) -> str:
    return event["delta"] if event["type"] == "response.output_text.delta" else ""


def said_in_text(event: dict) -> str:
    return "".join(choice["text"] for choice in event["choices"])


KINDS = {
    "messages": Kind(
        "/v1/messages",
        chat,
        lambda token: {
            "model": "scripted",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": token}],
        },
        said_in_message,
    ),
    "responses": Kind(
        "/v1/responses", chat, lambda token: {"model": "scripted", "input": token}, said_in_response
    ),
    "completions": Kind(
        "/v1/completions", text, lambda token: {"model": "scripted", "prompt": token}, said_in_text
    ),
    "embeddings": Kind(
        "/v1/embeddings",
        vectors,
        lambda token: {"model": EMBEDDER, "input": token},
        price_nano=10 * INPUT,
        is_streamed=False,
    ),
}


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(2, marks=pytest.mark.proof),
        pytest.param(25, marks=pytest.mark.endurance),
    ],
)
def test_a_kill_leaves_no_api_with_a_payment_that_is_unanswered(mortal, fake, chance, rounds):
    live_route(EMBEDDER, fake.base_url)
    Model.objects.filter(slug=EMBEDDER).update(capabilities=["embedding"])
    asker = Customer(mortal)
    eventually(lambda: EMBEDDER in asker.get("/v1/models").text)
    seen: Counter = Counter()
    for _ in range(rounds):
        seen += kill_as_they_end(mortal, fake, chance)
    print(dict(seen))
    assert sum(seen.values()) == rounds * AT_ONCE * len(KINDS)


def kill_as_they_end(gateway: Gateway, fake, chance: random.Random) -> Counter:
    """Kill it when the provider has just ended all answers of all kinds at once."""
    customers = {name: Customer(gateway, unlimited=True) for name in KINDS}
    tokens = {name: fake.script(kind.script(), keep=AT_ONCE) for name, kind in KINDS.items()}
    asked: list[tuple[str, Future]] = []
    with killed(gateway, clients=AT_ONCE * len(KINDS)) as threads:
        for name, kind in KINDS.items():
            for number in range(AT_ONCE):
                body = {**kind.body(tokens[name])}
                if kind.is_streamed and number % 2:
                    body["stream"] = True
                asked.append((name, threads.submit(ask, customers[name], kind.path, body)))
        for token in tokens.values():
            fake.wait_for_calls(token, AT_ONCE)
        for token in chance.sample([*tokens.values()], len(tokens)):
            time.sleep(chance.uniform(0, 0.004))  # So that one batch rarely settles all.
            fake.go(token, "the end")
        wait_for_the_moment(chance, [*customers.values()], within_s=WITHIN_S)
    sweep()
    received = [(name, future.result()) for name, future in asked]
    seen: Counter = Counter()
    for name, customer in customers.items():
        seen += check(name, customer, [answer for one, answer in received if one == name])
    return seen


def ask(customer: Customer, path: str, body: dict) -> Answer:
    with WireClient(customer.gateway.port) as client:
        client.post(body, customer.headers, path)
        return client.read_to_the_end()


def check(name: str, customer: Customer, received: list[Answer]) -> Counter:
    """Compare the books of one customer with what came of this kind."""
    check_books_of(customer)
    kind, outcomes = KINDS[name], Counter()
    by_request = {one.request_id: one for one in received if one.status}
    entries = Counter(str(entry.request_id) for entry in customer.usage_entries())
    assert set(entries.values()) <= {1}
    for request_id in entries:
        has_all(kind, by_request[request_id])
    for row in customer.requests():
        is_charged = str(row.id) in entries
        assert (row.outcome, row.cost_nano) == (
            ("finished", kind.price_nano) if is_charged else ("lost", 0)
        )
        outcomes[f"{name}, {'charged' if is_charged else 'lost'}"] += 1
    outcomes[f"{name}, never begun"] += len(received) - sum(outcomes.values())
    return outcomes


def has_all(kind: Kind, answer: Answer) -> None:
    """The caller has all content; the end of a stream may be missing, and a body's last byte."""
    assert answer.status == 200, answer.body
    if answer.is_stream:
        assert "".join(map(kind.text_in, events_of(answer))) == TEXT
    else:
        assert answer.missing_bytes <= 1


def events_of(answer: Answer) -> list[dict]:
    lines = b"\n\n".join(answer.body.split(b"\n\n")[:-1]).splitlines()
    return [
        orjson.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: {")
    ]
