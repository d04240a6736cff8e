"""Wherever a provider's bytes are cut, each API's client reads the same, and reads it strictly.

The judges are the official packages: their decoders of the bytes, their types for every event,
their accumulators for the whole. `make test` cuts at a sample of places, `make proof` at all.
"""

import random
import re
from collections.abc import Callable, Iterator

import orjson
import pytest
from anthropic._streaming import SSEDecoder as AnthropicDecoder
from openai._streaming import SSEDecoder as OpenAIDecoder
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import Response
from pydantic import BaseModel

from billing.pricing import Usage
from gateway.dialects.apis import CHAT, MESSAGES, RESPONSES, Dialect
from gateway.dialects.chat.chunks import own, usage_object
from tests.support.counts import counts
from tests.support.gateway import anthropic_answers
from tests.support.gateway.anthropic_answers import EVENT, accumulated, as_accumulated, check_order
from tests.support.gateway.receipts import INPUT, OUTPUT
from tests.support.gateway.relaying import BODY, IDENTITY, relayed
from tests.support.gateway.responses_bodies import (
    TYPES,
    check_items,
    events_in,
    read_by_the_package,
)
from tests.support.live import Customer
from tests.support.provider.scripts import End, Head, Split, chunk, sse, usage_chunk, usage_of

SAMPLE = 24
USAGE = usage_of(10, 5)
COST_NANO = 10 * INPUT + 5 * OUTPUT
DONE = b"data: [DONE]\n\n"
# What Kyma says beyond the types of the packages. OpenAI itself says `store`, and the `name` of a
# function whose arguments are done, which other versions of the package demand.
BEYOND = {"provider", "cost", "is_byok", "reasoning", "reasoning_content", "store", "name"} | {
    "native_finish_reason"
}


def fragment(index: int, arguments: str, **opening) -> dict:
    function = {"arguments": arguments} | ({"name": "search"} if opening else {})
    return {"tool_calls": [{"index": index, "function": function, **opening}]}


def call(call_id: str, arguments: str) -> dict:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": "search", "arguments": arguments},
    }


def bytes_of(*deltas: dict, finish: str = "stop", usage_with_choices: bool = False) -> bytes:
    if usage_with_choices:
        end = [chunk({}, finish_reason=finish, usage=USAGE)]
    else:
        end = [chunk({}, finish_reason=finish), usage_chunk(USAGE)]
    return b"".join(sse(one) for one in [*map(chunk, deltas), *end]) + DONE


ROLE = {"role": "assistant", "content": ""}
# What the provider sends, and the same as a whole message with its finish reason.
ANSWERS: dict[str, tuple[bytes, dict, str]] = {
    "text": (
        bytes_of(ROLE, {"content": "Grüße 🌍"}, {"content": " 👩‍👩‍👧 é"}),
        {"content": "Grüße 🌍 👩‍👩‍👧 é"},
        "stop",
    ),
    "reasoning, then text": (
        bytes_of(ROLE, {"reasoning": "Six "}, {"reasoning": "times."}, {"content": "42"}),
        {"reasoning": "Six times.", "content": "42"},
        "stop",
    ),
    "text and parallel calls": (
        bytes_of(
            {"content": "Let's see."},
            fragment(0, "", id="c1", type="function"),
            fragment(1, '{"q": ', id="c2", type="function"),
            fragment(0, '{"q": "ü'),
            fragment(1, "2}"),
            fragment(0, '☀"}'),
            finish="tool_calls",
        ),
        {
            "content": "Let's see.",
            "tool_calls": [call("c1", '{"q": "ü☀"}'), call("c2", '{"q": 2}')],
        },
        "tool_calls",
    ),
    "refusal": (
        bytes_of(ROLE, {"refusal": "I can't "}, {"refusal": "say."}),
        {"content": None, "refusal": "I can't say."},
        "stop",
    ),
    "cut off, usage with the end": (
        bytes_of({"content": "Hel"}, finish="length", usage_with_choices=True),
        {"content": "Hel"},
        "length",
    ),
    "CRLF, comments and a byte order mark": (
        b"\xef\xbb\xbf: busy\r\n\r\n"
        + bytes_of(ROLE, {"reasoning_content": "Hm ☀"}, {"content": "Ja"})
        .replace(b"\n\n", b"\n\n: busy\n\n")
        .replace(b"\n", b"\r\n"),
        {"reasoning_content": "Hm ☀", "content": "Ja"},
        "stop",
    ),
}


# --- Reading strictly ----------------------------------------------------------------------------


def data_of(decoder: type, raw: bytes) -> list[str]:
    return [event.data for event in decoder().iter_bytes(iter([raw]))]


def unknown_to(model: BaseModel) -> Iterator[str]:
    """The names of what no field of the package's types is for."""
    yield from model.model_extra or ()
    for name in model.model_fields_set:
        value = getattr(model, name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, BaseModel):
                yield from unknown_to(one)


def check_strictly(model: BaseModel, said: dict) -> None:
    """The package's object says all that the JSON says, and the JSON only what it should."""
    assert model.model_dump(mode="json", exclude_unset=True) == said
    assert set(unknown_to(model)) <= BEYOND


def check_chat(raw: bytes, whole: dict) -> None:
    *chunks, done = data_of(OpenAIDecoder, raw)
    assert done == "[DONE]"
    state: ChatCompletionStreamState = ChatCompletionStreamState()
    said = []
    for data in chunks:
        said.append(orjson.loads(data))
        model = ChatCompletionChunk.model_validate_json(data, strict=True)
        check_strictly(model, said[-1])
        state.handle_chunk(model)
    *spoken, last = said
    assert {(one["id"], one["created"], one["model"]) for one in said} == {
        (IDENTITY.id, IDENTITY.created, IDENTITY.model)
    }
    choices = [one["choices"][0] for one in spoken]
    assert choices[0]["delta"]["role"] == "assistant"
    assert [one["finish_reason"] is None for one in choices] == [True] * (len(spoken) - 1) + [False]
    assert [one["usage"] for one in spoken] == [None] * len(spoken)
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    gathered = state.current_completion_snapshot.choices[0]
    expected = whole["choices"][0]
    assert gathered.finish_reason == expected["finish_reason"]
    told = gathered.message.model_dump(exclude_none=True)
    for one in told.get("tool_calls", ()):
        one.pop("index"), one["function"].pop("parsed_arguments", None)
    wanted = {name: value for name, value in expected["message"].items() if value}
    assert {name: value for name, value in told.items() if value} == wanted


def check_messages(raw: bytes, whole: dict) -> None:
    events = anthropic_answers.read(raw)
    check_order(events)
    for data, event in zip(data_of(AnthropicDecoder, raw), events, strict=True):
        model = EVENT.validate_json(data, strict=True)
        check_strictly(model, event)
    assert accumulated(events) == as_accumulated(whole)


def check_responses(raw: bytes, whole: dict) -> None:
    events = events_in(raw)
    check_items(events)
    for data, event in zip(data_of(OpenAIDecoder, raw), events, strict=True):
        check_strictly(TYPES[event["type"]].model_validate_json(data, strict=True), event)
    assert events[-1]["response"] == whole
    if whole["status"] == "completed":
        assert read_by_the_package(events).output_text == Response(**whole).output_text


CHECKS: dict[Dialect, Callable[[bytes, dict], None]] = {
    CHAT: check_chat,
    MESSAGES: check_messages,
    RESPONSES: check_responses,
}
each_dialect = pytest.mark.parametrize("dialect", CHECKS, ids=lambda dialect: dialect.api)
each_answer = pytest.mark.parametrize("name", ANSWERS)


def whole_answer(dialect: Dialect, name: str) -> dict:
    """What the dialect makes of the same answer when it comes in one piece."""
    _, message, finish = ANSWERS[name]
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    answer = own({"choices": [choice]}, IDENTITY)
    usage = usage_object(Usage(prompt=10, completion=5), COST_NANO)
    return orjson.loads(orjson.dumps(dialect.whole(answer, usage, BODY)))


# --- The proofs ----------------------------------------------------------------------------------


@each_dialect
@each_answer
def test_what_is_written_is_strictly_what_the_package_expects(monkeypatch, dialect, name):
    written = relayed(monkeypatch, dialect, COST_NANO, [ANSWERS[name][0]])
    CHECKS[dialect](written, whole_answer(dialect, name))


@pytest.mark.parametrize("most", [SAMPLE, pytest.param(None, marks=pytest.mark.proof)])
@each_dialect
@each_answer
def test_nobody_can_tell_where_the_bytes_were_cut(monkeypatch, dialect, name, most):
    def read(*pieces: bytes) -> bytes:
        return relayed(monkeypatch, dialect, COST_NANO, pieces)

    sent = ANSWERS[name][0]
    expected = read(sent)
    places = range(1, len(sent))
    for at in random.sample(places, most) if most else places:
        assert read(sent[:at], sent[at:]) == expected, at
    assert read(*(bytes([one]) for one in sent)) == expected


@pytest.mark.parametrize("cuts", counts(3, proof=10, endurance=40))
@each_dialect
@each_answer
def test_nor_can_they_over_http(gateway, fake, dialect, name, cuts):
    customer = Customer(gateway, unlimited=True)
    sent = ANSWERS[name][0]
    for at in random.sample(range(1, len(sent)), cuts):
        token = fake.script([Head(), Split(sent, sizes=(at,), gap_s=0.002), End()])
        CHECKS[dialect](read_over_http(customer, dialect, token), whole_answer(dialect, name))


def read_over_http(customer: Customer, dialect: Dialect, token: str) -> bytes:
    """What `dialect` answers, with the identity that the answers in process have."""
    messages = [{"role": "user", "content": token}]
    path, fields = {
        CHAT: (
            "/v1/chat/completions",
            {"messages": messages, "stream_options": {"include_usage": True}},
        ),
        MESSAGES: ("/v1/messages", {"messages": messages, "max_tokens": 100}),
        RESPONSES: ("/v1/responses", {"input": token}),
    }[dialect]
    response = customer.post({"model": "scripted", "stream": True, **fields}, path=path)
    assert response.status_code == 200, response.text
    own_id = response.headers["x-generation-id"].partition("_" if dialect != CHAT else "-")[2]
    raw = response.content.replace(own_id.encode(), b"1")
    return re.sub(rb'"(created|created_at)":\d+', rb'"\1":1', raw)
