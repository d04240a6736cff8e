"""A chat answer becomes the same Message, whole or in whatever chunks it comes.

The judge is Anthropic's own package: its types for every event, its accumulator for the whole.
"""

import orjson
import pytest
from anthropic.types.shared import ErrorResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic.api import MessageStream
from gateway.dialects.anthropic.message import INVALID_JSON
from gateway.errors import BadUpstream, PaymentRequired
from tests.support.gateway.anthropic_answers import (
    TEXT,
    THINKING,
    accumulated,
    as_accumulated,
    blocks_of,
    call,
    chunk,
    deltas_of,
    fragment,
    inputs_of,
    message_with,
    read,
    streamed,
    tool_use,
)


def test_a_stream_of_text():
    events = streamed(chunk(role="assistant", content=""), chunk(content="Hi"), chunk("stop"))
    usage = {
        "input_tokens": 9,
        "output_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    assert events == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_req1",
                "type": "message",
                "role": "assistant",
                "model": "kyma/m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage,
            },
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hi"},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 6,
                "output_tokens": 5,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 4,
                "output_tokens_details": {"thinking_tokens": 2},
                "cost": 0.000001,
            },
        },
        {"type": "message_stop"},
    ]


def test_each_piece_is_sent_as_it_comes():
    stream = MessageStream()
    stream.start(answer_id="chatcmpl-1", model="m", input_tokens=1)
    opened, delta = read(stream.feed(chunk(content="a")))
    assert (opened["type"], delta["delta"]["text"]) == ("content_block_start", "a")
    assert [one["delta"]["text"] for one in read(stream.feed(chunk(content="b")))] == ["b"]
    assert stream.feed(chunk(content="")) == b""
    assert stream.feed({"choices": []}) == b""
    assert stream.feed({"choices": [{"index": 1, "delta": {"content": "other"}}]}) == b""


def test_thinking_is_signed_before_it_ends():
    events = streamed(chunk(reasoning="h"), chunk(reasoning_content="m"), chunk(content="Hi"))
    assert [one["type"] for one in deltas_of(events, 0)] == [
        "thinking_delta",
        "thinking_delta",
        "signature_delta",
    ]
    assert accumulated(events)["content"] == [THINKING, TEXT]


def test_thinking_and_text_may_alternate():
    chunks = [chunk(reasoning="hm", content="Hi"), chunk(reasoning="hm"), chunk(content="Hi")]
    assert blocks_of(*chunks) == [THINKING, TEXT, THINKING, TEXT]


def test_arguments_are_sent_as_they_come():
    chunks = [
        fragment(0, id="c1", name="search"),
        fragment(0, '{"q"'),
        fragment(0, ": 1"),
        fragment(0, "}"),
    ]
    events = streamed(*chunks)
    assert [one["partial_json"] for one in deltas_of(events, 0)] == ['{"q"', ": 1", "}"]
    assert accumulated(events)["content"] == [tool_use(input={"q": 1})]


def test_the_next_call_begins_as_soon_as_the_one_before_is_whole():
    stream = MessageStream()
    stream.start(answer_id="chatcmpl-1", model="m", input_tokens=1)
    stream.feed(fragment(0, '{"q": 1}', id="c1", name="a"))
    stream.feed(fragment(1, id="c2", name="b"))
    opened, delta = read(stream.feed(fragment(1, '{"q"')))
    assert (opened["index"], opened["content_block"]["id"]) == (1, "c2")
    assert delta["delta"]["partial_json"] == '{"q"'


def test_calls_whose_fragments_interleave_wait_for_each_other():
    chunks = [
        fragment(0, '{"a":{"b"', id="c1", name="search"),
        fragment(1, '{"q"', id="c2", name="find"),
        fragment(0, ":{}}"),
        fragment(1, ":2"),
        chunk(content="Hi"),
        fragment(0, "}"),
        fragment(1, "}"),
    ]
    events = streamed(*chunks)
    assert inputs_of(events) == [{"a": {"b": {}}}, {"q": 2}]
    assert accumulated(events)["content"] == [
        tool_use(input={"a": {"b": {}}}),
        tool_use(id="c2", name="find", input={"q": 2}),
        TEXT,
    ]


def test_it_knows_how_much_of_what_it_was_fed_waits():
    stream = MessageStream()
    stream.start(answer_id="chatcmpl-1", model="m", input_tokens=1)
    waiting = []
    for one in [
        chunk(content="Grüße"),
        fragment(0, '{"q":', id="c1", name="search"),
        fragment(1, '{"q":"ü"', id="c2", name="find"),
        chunk(content="Hi"),
        fragment(0, "1}"),
        fragment(1, "}"),
    ]:
        stream.feed(one)
        waiting.append(stream.waiting)
    assert waiting == [0, 0, 13, 15, 2, 0]


def test_thinking_that_nobody_asked_for_makes_no_block():
    chunks = [chunk(reasoning="hm"), chunk(content="Hi"), chunk(reasoning="m")]
    chunks += [fragment(0, "{}", id="c1", name="search")]
    events = streamed(*chunks, shows_thinking=False)
    assert accumulated(events)["content"] == [TEXT, tool_use()]
    assert [one["index"] for one in events if one["type"] == "content_block_start"] == [0, 1]


def test_thinking_that_is_not_told_never_counts_as_delivered():
    stream = MessageStream(shows_thinking=False)
    stream.start(answer_id="chatcmpl-1", model="m", input_tokens=1)
    assert stream.feed(chunk(reasoning="Grüße")) == b""
    assert stream.feed(chunk(content="Hi"))
    assert stream.waiting == 7


@pytest.mark.parametrize("pieces", [[], [""], ["", " "], ["{}"], ["{", "}"], ["null"]])
def test_a_call_without_arguments_gets_an_empty_object(pieces):
    chunks = [fragment(0, id="c1", name="search"), *(fragment(0, piece) for piece in pieces)]
    events = streamed(*chunks)
    assert orjson.loads("".join(one["partial_json"] for one in deltas_of(events, 0))) == {}
    assert accumulated(events)["content"] == [tool_use()]


@pytest.mark.parametrize("arguments", ["[1]", "search", '"q"'])
def test_arguments_that_are_no_object_are_wrapped(arguments):
    chunks = [fragment(0, piece, id="c1", name="search") for piece in arguments]
    chunks[1:] = [fragment(0, piece) for piece in arguments[1:]]
    assert blocks_of(*chunks) == [tool_use(input={INVALID_JSON: arguments})]


def test_arguments_that_break_off_are_sent_as_they_are():
    events = streamed(fragment(0, '{"q": [1', id="c1", name="search"), chunk("length"))
    assert [one["partial_json"] for one in deltas_of(events, 0)] == ['{"q": [1']
    assert accumulated(events)["content"] == [tool_use(input={"q": [1]})]
    assert accumulated(events)["stop_reason"] == "max_tokens"


def test_an_empty_answer_has_no_blocks():
    assert blocks_of(chunk("stop")) == []


def test_a_ping():
    assert MessageStream().ping() == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_an_answer_that_breaks_off_ends_with_an_error():
    stream = MessageStream()
    stream.start(answer_id="chatcmpl-1", model="m", input_tokens=1)
    stream.feed(chunk(content="Hi"))
    (event,) = read(stream.fail(BadUpstream("The provider broke the connection.")))
    assert ErrorResponse.model_validate(event).error.type == "api_error"
    assert event["error"]["message"] == "The provider broke the connection."


def test_an_error_says_what_openais_clients_read():
    error = PaymentRequired("Too little.", metadata={"affordable_max_tokens": 7})
    (event,) = read(MessageStream().fail(error))
    assert event["error"]["details"] == {
        "error_code": "insufficient_credits",
        "error_type": "payment_required",
        "affordable_max_tokens": 7,
    }


# --- Properties ----------------------------------------------------------------------------------

_words = st.text(max_size=12)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**60) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=2),
    max_leaves=5,
)
_arguments = st.one_of(
    st.builds(
        lambda value, indent: orjson.dumps(value, option=indent).decode(),
        st.dictionaries(_words, _values, max_size=3),
        st.sampled_from([0, orjson.OPT_INDENT_2]),
    ),
    st.sampled_from(["", "{}", "null"]),
)


def pieces_of(draw, text: str) -> list[str]:
    borders = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    at = [0, *borders, len(text)]
    return [text[start:end] for start, end in zip(at, at[1:], strict=False)]


def shuffled_in(draw, sequences: list[list[dict]]) -> list[dict]:
    """One sequence of all, in which each keeps its own order, and which they enter in order."""
    mixed: list[dict] = []
    begun: list[list[dict]] = []
    waiting = [list(one) for one in sequences]
    while waiting or any(begun):
        ready = [one for one in begun if one]
        if waiting and (not ready or draw(st.booleans())):
            ready = [waiting.pop(0)]
            begun += ready
        mixed.append(draw(st.sampled_from(ready)).pop(0))
    return mixed


def fragments_of(draw, index: int, made: dict) -> list[dict]:
    function = made["function"]
    first, *others = pieces_of(draw, function["arguments"])
    opening = {"id": made["id"]} if made["id"] else {}
    return [
        fragment(index, first, name=function["name"], **opening),
        *(fragment(index, piece) for piece in others),
    ]


@st.composite
def answers(draw) -> tuple[dict, list[dict], list[dict]]:
    """What an answer says, the chunks with words, and the chunks with tool calls."""
    reasoning, content = draw(_words), draw(_words)
    field = draw(st.sampled_from(["reasoning", "reasoning_content"]))
    calls = [
        call(
            draw(st.sampled_from(["search", "find"])),
            draw(_arguments),
            id=draw(st.sampled_from([f"call_{index}", f"functions.f:{index}", None])),
        )
        for index in range(draw(st.integers(0, 3)))
    ]
    words = [chunk(**{field: piece}) for piece in pieces_of(draw, reasoning)]
    words += [chunk(content=piece) for piece in pieces_of(draw, content)]
    calling = shuffled_in(draw, [fragments_of(draw, *one) for one in enumerate(calls)])
    said = {field: reasoning, "content": content, "tool_calls": calls}
    return said, words, calling


def merged(draw, chunks: list[dict]) -> list[dict]:
    """Neighbours with different members in one chunk, here and there."""
    result: list[dict] = []
    for one in chunks:
        delta = one["choices"][0]["delta"]
        last = result[-1]["choices"][0]["delta"] if result else None
        if last is not None and draw(st.booleans()) and not last.keys() & delta.keys():
            result[-1] = chunk(**last, **delta)
        else:
            result.append(one)
    return result


@settings(max_examples=150)
@given(data=st.data(), made=answers(), reason=st.sampled_from(["stop", "tool_calls", "length"]))
def test_a_streamed_answer_is_the_whole_answer(data, made, reason):
    said, words, calling = made
    chunks = merged(data.draw, [*words, *calling])
    events = streamed(*chunks, chunk(reason))
    whole = message_with(reason, **said)
    assert accumulated(events) == as_accumulated(whole)
    assert inputs_of(events) == [one["input"] for one in whole["content"] if "input" in one]
    assert events[-2]["usage"] == whole["usage"]


@settings(max_examples=100)
@given(data=st.data(), made=answers())
def test_in_whatever_order_it_comes_nothing_is_lost(data, made):
    said, words, calling = made
    for one in words:
        calling.insert(data.draw(st.integers(0, len(calling))), one)
    events = streamed(*calling)
    content = accumulated(events)["content"]
    whole = message_with(**said)["content"]
    for kind in ("thinking", "text"):
        parts = [block[kind] for block in content if block["type"] == kind]
        assert sorted("".join(parts)) == sorted(
            "".join(block[kind] for block in whole if block["type"] == kind)
        )
    calls = [block for block in content if block["type"] == "tool_use"]
    assert calls == [block for block in whole if block["type"] == "tool_use"]
    assert inputs_of(events) == [block["input"] for block in calls]


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["content", "text", "thinking", "reasoning", "id", "function"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_said = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["content", "reasoning", "reasoning_content", "refusal"], _json),
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"function": st.fixed_dictionaries({"name": _json, "arguments": _json})},
                optional={"id": _json, "index": _json},
            ),
            max_size=3,
        ),
    },
)


@settings(max_examples=100)
@given(deltas=st.lists(_said, max_size=4), reason=_json)
def test_whatever_a_provider_says_makes_a_message(deltas, reason):
    streamed(*(chunk(reason, **delta) for delta in deltas))
    for said in deltas:
        message_with(reason, **said)
