"""Whatever way a provider tells its calls, the client of each API hears the same ones."""

import orjson
import pytest
from openai._streaming import SSEDecoder
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from billing.pricing import Usage
from gateway.dialects.apis import CHAT, MESSAGES, RESPONSES
from gateway.dialects.chat import request as chat_request
from gateway.dialects.chat.chunks import own, usage_object
from gateway.dialects.chat.mending import Mender
from tests.support.gateway.anthropic_answers import accumulated, read
from tests.support.gateway.relaying import BODY, IDENTITY, relayed
from tests.support.gateway.responses_bodies import events_in
from tests.support.provider.scripts import chunk, sse

F, G = ("f", '{"a":1}'), ("g", '{"b":2}')
BOTH = [("c1", *F), ("c2", *G)]
MADE = ("call_1_0_0", "call_1_0_1")
MOST_ID = 40  # characters that some providers take


def one(index=0, call_id=None, name=None, arguments=None, **members) -> dict:
    """A fragment, or a whole call, of what is given."""
    function = {"name": name, "arguments": arguments}
    said = {"index": index, "id": call_id, "function": function, **members}
    said["function"] = {key: value for key, value in function.items() if value is not None}
    return {key: value for key, value in said.items() if value is not None}


def opened(index=0, call_id="c1", name="f", arguments="") -> dict:
    return one(index, call_id, name, arguments, type="function")


# Each delta's fragments, and the calls that they are.
ODD: dict[str, tuple[list[list[dict]], list[tuple[str, str, str]]]] = {
    "one index for all": ([[opened(0, "c1", *F)], [opened(0, "c2", *G)]], BOTH),
    "one index for all, none with an id": (
        [[one(0, None, *F)], [one(0, None, *G)]],
        [(MADE[0], *F), (MADE[1], *G)],
    ),
    "one index, one name, no ids": (
        [[one(0, "", *F)], [one(0, "", "f", '{"a"')], [one(0, "", "f", ":2}")]],
        [(MADE[0], *F), (MADE[1], "f", '{"a":2}')],
    ),
    "one id for all": (
        [[opened(0, "c", *F)], [opened(1, "c", *G)]],
        [("c", *F), (MADE[1], *G)],
    ),
    "no index": ([[opened(None, "c1", *F)], [opened(None, "c2", *G)]], BOTH),
    "no index, in one": ([[opened(None, "c1", *F), opened(None, "c2", *G)]], BOTH),
    "no index, in turns": (
        [
            [opened(None, "c1", "f"), opened(None, "c2", "g")],
            [one(None, "c1", None, F[1]), one(None, "c2", None, G[1])],
        ],
        BOTH,
    ),
    "no index, the last goes on": (
        [[opened(None, "c1", *F)], [opened(None, "c2", "g")], [one(None, None, None, G[1])]],
        BOTH,
    ),
    "index from 1": (
        [[opened(1, "c1", "f")], [opened(2, "c2", *G)], [one(1, None, None, F[1])]],
        BOTH,
    ),
    "all of it in each": (
        [[opened(0, "c1", "f", '{"a"')], [opened(0, "c1", "f", ":1}")], [opened(1, "c2", *G)]],
        BOTH,
    ),
    "another id in each": (
        [[opened(0, "c1", "f", '{"a"')], [one(0, "x", None, ":1}")]],
        BOTH[:1],
    ),
    "an id that is a number": (
        [[opened(0, 7, "f", '{"a"')], [one(0, 7, None, ":1}")]],
        [(MADE[0], *F)],
    ),
    "an empty id in each": ([[opened()], [one(0, "", "", F[1])]], BOTH[:1]),
    "the id late": ([[one(0, None, "f", "")], [one(0, "c1", None, F[1])]], [(MADE[0], *F)]),
    "the name late": ([[one(0, "c1")], [one(0, "c1", "f", F[1])]], BOTH[:1]),
    "arguments as an object": ([[opened(0, "c1", "f", {"a": 1})]], BOTH[:1]),
    "arguments as an object, late": ([[opened()], [one(0, arguments={"a": 1})]], BOTH[:1]),
    "no arguments": (
        [[opened(0, "c1", "f")], [opened(1, "c2", "g", " ")]],
        [("c1", "f", "{}"), ("c2", "g", " {}")],
    ),
    "nothing but names": (
        [[one(None, None, "f")], [one(None, None, None, F[1])], [one(None, None, *G)]],
        [(MADE[0], *F), (MADE[1], *G)],
    ),
}
each_odd = pytest.mark.parametrize(("deltas", "calls"), ODD.values(), ids=ODD)


def sent(deltas: list[list[dict]]) -> bytes:
    chunks = [chunk({"tool_calls": fragments}) for fragments in deltas]
    return b"".join(map(sse, [*chunks, chunk({}, finish_reason="stop")])) + b"data: [DONE]\n\n"


@each_odd
def test_openais_package_hears_sound_calls(monkeypatch, deltas, calls):
    state: ChatCompletionStreamState = ChatCompletionStreamState()
    for event in SSEDecoder().iter_bytes(iter([relayed(monkeypatch, CHAT, 0, [sent(deltas)])])):
        if event.data != "[DONE]":
            state.handle_chunk(ChatCompletionChunk.model_validate_json(event.data, strict=True))
    (choice,) = state.current_completion_snapshot.choices
    assert choice.finish_reason == "tool_calls"
    heard = choice.message.tool_calls or []
    assert [(one.id, one.function.name, one.function.arguments) for one in heard] == calls
    check_can_be_sent_back(choice.message.model_dump(exclude_none=True))


@each_odd
def test_so_do_the_clients_of_the_other_apis(monkeypatch, deltas, calls):
    message = accumulated(read(relayed(monkeypatch, MESSAGES, 0, [sent(deltas)])))
    assert [(one["id"], one["name"], one["input"]) for one in message["content"]] == [
        (call_id, name, orjson.loads(arguments)) for call_id, name, arguments in calls
    ]
    response = events_in(relayed(monkeypatch, RESPONSES, 0, [sent(deltas)]))[-1]["response"]
    assert calls == [(one["call_id"], one["name"], one["arguments"]) for one in response["output"]]


def check_can_be_sent_back(message: dict) -> None:
    results = [
        {"role": "tool", "tool_call_id": one["id"], "content": "It is."}
        for one in message["tool_calls"]
    ]
    chat_request.parse({"model": "scripted", "messages": [message, *results]})


SOUND: list[list[list[dict]]] = [
    [[opened()], [one(0, arguments='{"a"')], [one(0, arguments=":1}")]],
    [[opened(), opened(1, "c2", "g")], [one(1, arguments="{}"), one(0, arguments="{}")]],
    [[opened()], [one(0, "", "", "{}", type="function")]],
    [[opened()], [{"index": 0, "id": None, "function": {"name": None, "arguments": None}}]],
    [[opened(arguments="{}") | {"extra": 1}], [{"index": 0}]],
    [[opened(name="get_")], [one(0, None, "it")], [one(0, arguments="{}")]],
]


@pytest.mark.parametrize("deltas", SOUND)
def test_what_is_sound_stays_as_it_came(deltas):
    mender = Mender("chatcmpl-1")
    for fragments in deltas:
        said = {"choices": [{"index": 0, "delta": {"tool_calls": fragments}}]}
        before = orjson.dumps(said)
        mender.mend(said)
        assert orjson.dumps(said) == before


def test_arguments_are_made_up_once():
    mender, said = Mender("chatcmpl-1"), []
    for fragments, reason in (([opened()], None), ([], "stop"), ([], "stop")):
        choice = {"index": 0, "delta": {"tool_calls": fragments}, "finish_reason": reason}
        mender.mend({"choices": [choice]})
        said += choice["delta"]["tool_calls"]
    assert said == [opened(), one(0, arguments="{}")]


def test_arguments_that_were_cut_off_are_not_made_up():
    cut = {"index": 0, "delta": {"tool_calls": [opened()]}, "finish_reason": "length"}
    Mender("chatcmpl-1").mend({"choices": [cut]})
    assert cut["delta"]["tool_calls"] == [opened()]
    (call,) = whole(CHAT, [opened()], "length")["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == ""


def test_each_answer_has_calls_of_its_own():
    mender = Mender(f"chatcmpl-{'0' * 32}")
    delta = {"tool_calls": [one(5, None, "f")]}
    said = [{"index": index, "delta": orjson.loads(orjson.dumps(delta))} for index in (0, 1)]
    mender.mend({"choices": said})
    told = [choice["delta"]["tool_calls"][0] for choice in said]
    assert [call["index"] for call in told] == [0, 0]
    assert told[0]["id"] != told[1]["id"]
    assert max(len(call["id"]) for call in told) < MOST_ID


# Whole calls, and what they should have been.
WHOLE: dict[str, tuple[list[dict], list[tuple[str, str, str]]]] = {
    "no id, no type": ([one(None, None, *F), one(None, "", *G)], [(MADE[0], *F), (MADE[1], *G)]),
    "one id for all": (
        [opened(None, "c", *F), opened(None, "c", *G)],
        [("c", *F), (MADE[1], *G)],
    ),
    "one index for all, no ids": ([one(0, "", *F), one(0, "", *G)], [(MADE[0], *F), (MADE[1], *G)]),
    "arguments as an object": ([opened(None, "c1", "f", {"a": 1})], BOTH[:1]),
    "no arguments": (
        [one(None, "c1", "f"), opened(None, "c2")],
        [("c1", "f", "{}"), ("c2", "f", "{}")],
    ),
    "an odd type": ([opened(None, "c1", *F) | {"type": ""}], BOTH[:1]),
}


@pytest.mark.parametrize(("calls", "expected"), WHOLE.values(), ids=WHOLE)
def test_calls_in_a_whole_answer_are_sound_too(calls, expected):
    told = whole(CHAT, calls)
    message = ChatCompletion.model_validate(told, strict=True).choices[0].message
    heard = message.tool_calls or []
    assert [(one.id, one.function.name, one.function.arguments) for one in heard] == expected
    check_can_be_sent_back(told["choices"][0]["message"])
    output = whole(RESPONSES, calls)["output"]
    assert [(one["call_id"], one["name"], one["arguments"]) for one in output] == expected
    content = whole(MESSAGES, calls)["content"]
    assert [one["id"] for one in content] == [call_id for call_id, _, _ in expected]


def whole(dialect, calls: list[dict], reason: str = "tool_calls") -> dict:
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    answer = own(orjson.loads(orjson.dumps({"choices": [choice]})), IDENTITY)
    usage = usage_object(Usage(prompt=10, completion=5), 0)
    return orjson.loads(orjson.dumps(dialect.whole(answer, usage, BODY)))


def test_sound_calls_in_a_whole_answer_stay_as_they_came():
    calls = [opened(None, "c1", *F), opened(3, "c2", *G) | {"extra": 1}]
    assert whole(CHAT, calls)["choices"][0]["message"]["tool_calls"] == calls
