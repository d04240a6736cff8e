"""Custom tools in chat: functions to the model, themselves to the caller."""

import orjson
import pytest
from openai.types.chat import (
    ChatCompletionCustomToolParam,
    ChatCompletionMessage,
    ChatCompletionMessageCustomToolCall,
)

from gateway.dialects.apis import CHAT, Opening
from gateway.dialects.chat.chunks import Identity
from gateway.dialects.chat.stream import ChatStream, CustomToolStream
from gateway.errors import Unprocessable
from gateway.log.transcript import transcript_of
from tests.support.gateway.chat_bodies import CALL, HELLO, TOOL, body_with, refusal, request_with
from tests.support.gateway.openai_clients import check_price, client_of, says
from tests.support.provider.scripts import (
    Done,
    End,
    Event,
    Head,
    WaitFor,
    answer,
    chunk,
    either,
    tool_call_answer,
    tool_call_stream,
)

TEXT = '*** Begin Patch\n"ß" \\ ☀'
GRAMMAR = {"syntax": "lark", "definition": 'start: "*** Begin"'}
PATCH = {
    "type": "custom",
    "custom": {
        "name": "apply_patch",
        "description": "Changes files.",
        "format": {"type": "grammar", "grammar": GRAMMAR},
    },
}
NOTE = {"type": "custom", "custom": {"name": "note"}}
ARGUMENTS = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
AS_FUNCTION = {"type": "function", "function": {"name": "note", "parameters": ARGUMENTS}}
CHOICE = {"type": "custom", "custom": {"name": "note"}}
CALLED = {"id": "c9", "type": "custom", "custom": {"name": "note", "input": TEXT}}
RESULT = {"role": "tool", "tool_call_id": "c9", "content": "Done."}
IDENTITY = Identity(id="chatcmpl-1", created=1, model="kyma/model", provider="P")


# --- What the model is offered


def test_a_custom_tool_is_a_function_with_one_text():
    body = body_with(tools=[TOOL, PATCH, {**NOTE, "cache_control": {}}])
    before = orjson.dumps(body)
    search, patch, note = request_with(**body).fields["tools"]
    assert search == TOOL
    assert patch["function"] == {
        "name": "apply_patch",
        "description": "Changes files.\n\n`input` must be of this grammar (lark):\n"
        'start: "*** Begin"',
        "parameters": ARGUMENTS,
    }
    assert note == {**AS_FUNCTION, "cache_control": {}}
    assert orjson.dumps(body) == before


def test_a_custom_tool_may_be_chosen():
    fields = request_with(tools=[TOOL, NOTE], tool_choice=CHOICE).fields
    assert fields["tool_choice"] == {"type": "function", "function": {"name": "note"}}
    allowed = {"mode": "required", "tools": [CHOICE]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    fields = request_with(tools=[TOOL, NOTE], tool_choice=choice).fields
    assert (fields["tools"], fields["tool_choice"]) == ([AS_FUNCTION], "required")
    assert "note" in refusal(body_with(tools=[TOOL], tool_choice=CHOICE), Unprocessable).message


def test_what_was_called_before_is_a_call_of_the_function():
    calling = {"role": "assistant", "content": None, "tool_calls": [CALL, CALLED]}
    body = body_with(messages=[HELLO, calling, RESULT])
    before = orjson.dumps(body)
    request = request_with(**body)
    assert [one for one in request.messages if one is not request.messages[1]] == [HELLO, RESULT]
    first, second = request.messages[1]["tool_calls"]
    assert first == CALL
    arguments = orjson.dumps({"input": TEXT}).decode()
    function = {"name": "note", "arguments": arguments}
    assert second == {"id": "c9", "type": "function", "function": function}
    assert request.text_bytes > len(TEXT.encode())
    assert orjson.dumps(body) == before
    assert transcript_of(orjson.dumps({"request": body})).messages[1].text == (
        f"search({{}})\n\nnote({TEXT})"
    )


def test_what_has_no_custom_tools_is_left_as_it_is():
    body = body_with(
        tools=[TOOL], messages=[HELLO, {"role": "user", "content": "", "tool_calls": 1}]
    )
    request = request_with(**body)
    assert request.fields["tools"] is body["tools"]
    assert [id(one) for one in request.messages] == [id(one) for one in body["messages"]]
    assert type(stream_for(body)) is ChatStream


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom"}]}, "tools[0].custom"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].custom.name"),
        ({"tools": [{"type": "custom", "custom": {"name": "a b"}}]}, "tools[0].custom.name"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "a", "format": {"type": "x"}}}]},
            "tools[0].custom.format.type",
        ),
        (
            {"tools": [{"type": "custom", "custom": {"name": "a", "format": {"type": "grammar"}}}]},
            "tools[0].custom.format.grammar",
        ),
        ({"tool_choice": {"type": "custom"}}, "tool_choice.custom"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]}]},
            "messages[0].tool_calls[0].custom",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALLED, "id": ""}]}]},
            "messages[0].tool_calls[0].id",
        ),
    ],
)
def test_a_custom_tool_that_is_none_is_refused(fields, param):
    assert refusal(body_with(**fields)).param == param


# --- What it calls


def call(name: str, arguments: str, index: int = 0, call_id: str = "") -> dict:
    function = {"name": name, "arguments": arguments}
    given_id = call_id or f"c{index}"
    return {"index": index, "id": given_id, "type": "function", "function": function}


def more(arguments: str, index: int = 0) -> dict:
    return {"index": index, "function": {"arguments": arguments}}


def stream_for(body: dict):
    stream, opening = CHAT.open(Opening(IDENTITY, request_with(**body), body, 1))
    assert opening == b""
    return stream


def fed(stream, *deltas: dict, index: int = 0, finish_reason: str | None = None) -> list[dict]:
    """The choices that are written for each delta; the last one has the finish reason."""
    written = b""
    for place, delta in enumerate(deltas, 1):
        ending = finish_reason if place == len(deltas) else None
        choice = {"index": index, "delta": delta, "finish_reason": ending}
        written += stream.feed({"choices": [choice]})
    return choices_of(written)


def choices_of(written: bytes) -> list[dict]:
    events = [event.removeprefix(b"data: ") for event in written.split(b"\n\n")]
    chunks = [orjson.loads(event) for event in events if event and event != b"[DONE]"]
    return [choice for one in chunks for choice in one["choices"]]


def calls_of(choices: list[dict]) -> list[dict]:
    return [one for choice in choices for one in choice["delta"].get("tool_calls") or ()]


def custom(name: str, told: str, index: int = 0, call_id: str = "") -> dict:
    given_id = call_id or f"c{index}"
    return {
        "index": index,
        "id": given_id,
        "type": "custom",
        "custom": {"name": name, "input": told},
    }


@pytest.fixture
def stream():
    found = stream_for(body_with(tools=[TOOL, PATCH, NOTE]))
    assert type(found) is CustomToolStream
    return found


def test_a_call_is_told_in_one_piece_when_it_is_whole(stream):
    first = fed(stream, {"content": "Well."}, {"tool_calls": [call("note", '{"inp')]})
    assert [choice["delta"] for choice in first] == [{"role": "assistant", "content": "Well."}]
    assert stream.waiting == len('note{"inp')
    last = fed(
        stream,
        {"tool_calls": [more('ut": "a')]},
        {"tool_calls": [more('b"}')]},
        {},
        finish_reason="stop",
    )
    told, end = last
    assert told["delta"] == {"tool_calls": [custom("note", "ab")]}
    assert (end["finish_reason"], end["native_finish_reason"]) == ("tool_calls", "stop")
    assert end["delta"] == {}
    assert stream.waiting == 0


def test_calls_before_it_go_on_at_once_and_those_after_it_wait_with_it(stream):
    told = fed(
        stream,
        {"tool_calls": [call("search", "{", 0), call("note", '{"input": "', 1)]},
        {"tool_calls": [more("a", 1), more("}", 0)]},
        {"tool_calls": [call("search", "{", 2)]},
        {"tool_calls": [more('"}', 1), more("}", 2)]},
    )
    assert calls_of(told) == [call("search", "{", 0), more("}", 0)]
    assert told[0]["delta"]["role"] == "assistant"
    ended = fed(stream, {"content": "."}, finish_reason="tool_calls")
    assert calls_of(ended) == [custom("note", "a", 1), call("search", "{", 2), more("}", 2)]
    assert ended[-1]["delta"]["content"] == "."


def test_a_call_that_comes_in_one_chunk_with_its_end_is_told_before_it(stream):
    delta = {"tool_calls": [call("note", '{"input":"a"}')]}
    told, end = fed(stream, delta, finish_reason="tool_calls")
    assert told["delta"] == {"role": "assistant", "tool_calls": [custom("note", "a")]}
    assert (end["delta"], end["finish_reason"]) == ({}, "tool_calls")


def test_each_answer_has_calls_of_its_own(stream):
    for index in (0, 1):
        fragment = {"tool_calls": [call("note", f'{{"input":"{index}"}}')]}
        assert calls_of(fed(stream, fragment, index=index)) == []
    assert stream.waiting == 2 * len('note{"input":"0"}')
    (second,) = calls_of(fed(stream, {}, index=1, finish_reason="tool_calls"))
    (first,) = calls_of(fed(stream, {}, index=0, finish_reason="tool_calls"))
    assert (first["custom"]["input"], second["custom"]["input"]) == ("0", "1")


def test_calls_are_told_even_if_nothing_says_that_they_have_ended(stream):
    fed(stream, {"tool_calls": [call("note", '{"input":"a"}')]})
    ended = stream.finish({"prompt_tokens": 1})
    assert ended.endswith(b"data: [DONE]\n\n")
    choice, end = choices_of(ended)
    assert calls_of([choice]) == [custom("note", "a")]
    assert (end["finish_reason"], end["native_finish_reason"]) == ("tool_calls", None)


# --- With OpenAI's package


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


CALLS = [("note", {"input": TEXT}), ("search", {"q": "x"})]


def test_a_call_comes_back_and_its_result_goes_up(client, customer, fake):
    token = fake.script_attempts([tool_call_answer(CALLS), answer("Done.")])
    tools = [TOOL, ChatCompletionCustomToolParam(**PATCH), NOTE]
    done = client.chat.completions.create(model="scripted", messages=says(token), tools=tools)
    message = done.choices[0].message
    assert done.choices[0].finish_reason == "tool_calls"
    noted, searched = message.tool_calls
    assert type(noted) is ChatCompletionMessageCustomToolCall
    assert (noted.custom.name, noted.custom.input) == ("note", TEXT)
    assert orjson.loads(searched.function.arguments) == {"q": "x"}
    check_price(customer, done.usage)

    results = [
        {"role": "tool", "tool_call_id": one.id, "content": "ok"} for one in message.tool_calls
    ]
    turns = [*says(token), message, *results]
    followed = client.chat.completions.create(model="scripted", messages=turns, tools=tools)
    assert followed.choices[0].message.content == "Done."
    first, second = [call.json for call in fake.calls(token)]
    assert [one["type"] for one in first["tools"]] == ["function"] * 3
    said = second["messages"][1]["tool_calls"]
    assert [one["function"]["name"] for one in said] == ["note", "search"]
    assert orjson.loads(said[0]["function"]["arguments"]) == {"input": TEXT}
    assert [one["type"] for one in said] == ["function", "function"]


def test_a_stream_tells_the_call_in_one_piece(client, customer, fake):
    token = fake.script(tool_call_stream(CALLS, fragment=3))
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(
        client.chat.completions.create(
            model="scripted", messages=says(token), tools=[TOOL, NOTE], **options
        )
    )
    *said, last = chunks
    fragments = [one for each in said for one in each.choices[0].delta.tool_calls or ()]
    (noted,) = [one for one in fragments if one.index == 0]
    assert noted.model_dump()["custom"] == {"name": "note", "input": TEXT}
    assert (noted.type, noted.id is not None) == ("custom", True)
    assert len(fragments) > 3
    assert said[-1].choices[0].finish_reason == "tool_calls"
    check_price(customer, last.usage)
    answered = orjson.loads(customer.content(customer.settled_request().id))["answer"]
    assert orjson.loads(answered[0]["tool_calls"][0]["arguments"]) == {"input": TEXT}


def test_the_stream_helper_hears_of_the_calls_in_their_order(client, fake):
    token = fake.script(tool_call_stream(CALLS, fragment=3))
    with client.chat.completions.stream(
        model="scripted", messages=says(token), tools=[TOOL, NOTE]
    ) as events:
        kinds = [one.type for one in events]  # It makes no final completion of custom tools.
        noted, searched = events.current_completion_snapshot.choices[0].message.tool_calls
    assert kinds.count("tool_calls.function.arguments.done") == 1
    assert noted.custom == {"name": "note", "input": TEXT}
    assert searched.function.arguments == '{"q":"x"}'


def test_calls_with_the_same_index_are_told_apart(client, fake):
    called = [("note", '{"input":"a"}', "x"), ("search", "{}", "y"), ("note", "not JSON", "z")]
    deltas = [{"tool_calls": [call(name, said, 0, call_id)]} for name, said, call_id in called]
    events = [*map(Event, map(chunk, deltas)), Event(chunk({}, finish_reason="stop"))]
    token = fake.script([Head(), *events, Done(), End()])
    with client.chat.completions.stream(
        model="scripted", messages=says(token), tools=[TOOL, NOTE]
    ) as stream:
        list(stream)
        told = stream.current_completion_snapshot.choices[0].message.tool_calls
    assert [one.id for one in told] == ["x", "y", "z"]
    assert [one.custom["input"] for one in told if one.type == "custom"] == ["a", "not JSON"]
    assert told[1].function.name == "search"


@pytest.mark.parametrize("said", ["", "{}"])
def test_a_call_that_says_nothing_has_no_input(client, fake, said):
    calls = [("note", said)]
    token = fake.script(either(tool_call_stream(calls), tool_call_answer(calls)))
    asked = {"model": "scripted", "messages": says(token), "tools": [NOTE]}
    message = client.chat.completions.create(**asked).choices[0].message
    with client.chat.completions.stream(**asked) as stream:
        list(stream)
        streamed = stream.current_completion_snapshot.choices[0].message
    assert message.tool_calls[0].custom.input == ""
    assert streamed.tool_calls[0].custom["input"] == ""


def test_input_that_was_held_back_is_not_paid(client, customer, fake):
    waiting = call("note", '{"input": "' + "x" * 400)
    steps = [
        chunk({"content": "Well. "}),
        chunk({"tool_calls": [waiting]}),
        chunk({"content": "So"}),
    ]
    token = fake.script([Head(), *map(Event, steps), WaitFor("hang-up"), Done(), End()])
    options = {"model": "scripted", "messages": says(token), "tools": [NOTE], "stream": True}
    with client.chat.completions.create(**options) as chunks:
        assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["Well. ", "So"]
    fake.wait_for_hang_up(token)
    row = customer.settled_request()
    assert row.outcome == "client-gone"
    assert 0 < row.completion_tokens < 20


@pytest.mark.parametrize("streamed", [False, True])
def test_without_custom_tools_a_function_of_any_name_stays_one(client, fake, streamed):
    token = fake.script(either(tool_call_stream(CALLS), tool_call_answer(CALLS)))
    done = client.chat.completions.create(
        model="scripted", messages=says(token), tools=[TOOL], stream=streamed
    )
    if streamed:
        found = [one for each in done for one in each.choices[0].delta.tool_calls or ()]
        assert {one.type for one in found if one.id} == {"function"}
    else:
        assert isinstance(done.choices[0].message, ChatCompletionMessage)
        assert {one.type for one in done.choices[0].message.tool_calls} == {"function"}
