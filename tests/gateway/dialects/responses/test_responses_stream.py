"""Chat answers, made Responses: whole, and at every split of a stream into chunks.

Each event is checked against the type that the official package has for it, strictly.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.dialects.responses.stream import ResponseStream
from tests.support.gateway.responses_bodies import (
    AGENT,
    CHAT_CALL,
    FRANK,
    USAGE,
    check_items,
    events_in,
    names_of,
    read_by_the_package,
    stream_of,
    whole,
)

# --- Streams


def test_a_streamed_text_has_all_its_events():
    events = stream_of({"role": "assistant", "content": ""}, {"content": "H"}, {"content": "i"})
    assert names_of(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == []
    assert events[2]["item"]["status"] == "in_progress"


def test_reasoning_ends_before_the_text_begins():
    events = stream_of({"reasoning_content": "Hm."}, {"content": "No"}, {"refusal": "No."})
    assert names_of(events)[2:-1] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]


def test_parallel_calls_may_take_turns():
    events = stream_of(
        {"tool_calls": [call_delta(0, "", id="c1", name="search")]},
        {"tool_calls": [call_delta(1, "{", id="c2", name="open")]},
        {"tool_calls": [call_delta(0, '{"a":'), call_delta(1, "}")]},
        {"tool_calls": [call_delta(0, "1}")]},
        finish="tool_calls",
    )
    assert [(event["output_index"], event["delta"]) for event in events if "delta" in event] == [
        (1, "{"),
        (0, '{"a":'),
        (1, "}"),
        (0, "1}"),
    ]
    assert [item["arguments"] for item in events[-1]["response"]["output"]] == ['{"a":1}', "{}"]
    check_items(events)


def call_delta(index: int, arguments: str, *, id: str | None = None, name: str | None = None):
    return {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("deltas", "call"),
    [
        ([call_delta(0, "{", id="c1"), call_delta(0, "}", name="search")], ("c1", "search", "{}")),
        ([call_delta(0, "{}", id="c1")], ("c1", "", "{}")),
    ],
    ids=["late", "never"],
)
def test_a_name_may_come_late_or_never(deltas, call):
    events = stream_of(*[{"tool_calls": [delta]} for delta in deltas], finish="tool_calls")
    (item,) = events[-1]["response"]["output"]
    assert (item["call_id"], item["name"], item["arguments"]) == call
    check_items(events)
    assert read_by_the_package(events)


@pytest.mark.parametrize("finish", ["tool_calls", None])
def test_a_call_without_arguments_has_an_empty_object(finish):
    call = {"tool_calls": [call_delta(0, "", id="c1", name="search")]}
    events = stream_of(call, finish=finish)
    assert names_of(events)[3:5] == [
        "function_call_arguments.delta",
        "function_call_arguments.done",
    ]
    assert events[4]["arguments"] == events[-1]["response"]["output"][0]["arguments"] == "{}"
    check_items(events)


def test_arguments_that_were_cut_off_are_not_made_up():
    calls = [call_delta(at, "", id=f"c{at}", name="search") for at in range(2)]
    whole, cut = stream_of({"tool_calls": calls}, finish="length")[-1]["response"]["output"]
    assert (whole["arguments"], whole["status"]) == ("{}", "completed")
    assert (cut["arguments"], cut["status"]) == ("", "incomplete")


def test_arguments_wait_for_the_name():
    stream = ResponseStream(AGENT)
    stream.start(id="chatcmpl-1", created=1, model="m")
    stream.feed({"choices": [{"delta": {"tool_calls": [call_delta(0, '{"ü":', id="c1")]}}]})
    assert stream.waiting == 6
    stream.feed({"choices": [{"delta": {"tool_calls": [call_delta(0, "", name="search")]}}]})
    assert stream.waiting == 0


def test_text_after_a_call_is_a_message_of_its_own():
    events = stream_of({"content": "a"}, {"tool_calls": [CHAT_CALL]}, {"content": "b"})
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    check_items(events)


def test_a_stream_that_is_cut_off_ends_incomplete():
    events = stream_of({"content": "Hi"}, finish="length")
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"] == whole({"content": "Hi"}, finish="length")


def test_a_chunk_after_the_end_does_not_change_how_it_ended():
    stream = ResponseStream(AGENT)
    stream.start(id="chatcmpl-1", created=1, model="m")
    stream.feed({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "length"}]})
    stream.feed({"choices": [{"delta": {}, "finish_reason": None}]})
    assert b"response.incomplete" in stream.finish(USAGE)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadUpstream("Broken."), "server_error"),
        (errors.TooManyRequests("Wait."), "rate_limit_exceeded"),
        (errors.InvalidRequest("No.", param="input"), "invalid_prompt"),
    ],
)
def test_a_failed_stream_says_why(error, code):
    stream = ResponseStream(AGENT)
    written = stream.start(id="chatcmpl-1", created=1, model="m")
    written += stream.feed({"choices": [{"delta": {"reasoning": "Hm.", "content": "Hi"}}]})
    events = events_in(written + stream.fail(error))
    failed = events[-1]["response"]
    assert events[-1]["type"] == "response.failed"
    assert failed["status"] == "failed"
    assert failed["error"] == {
        "code": code,
        "message": error.message,
        "param": error.param,
        "type": error.type,
    }
    assert failed["output"][1]["status"] == "incomplete"
    assert failed["usage"] is None


def test_a_ping_is_a_comment():
    ping = ResponseStream(AGENT).ping()
    assert ping.startswith(b":")
    assert ping.endswith(b"\n\n")


def test_chunks_that_say_nothing_make_no_events():
    stream = ResponseStream(AGENT)
    stream.start(id="chatcmpl-1", created=1, model="m")
    assert stream.feed({"choices": []}) == b""
    assert stream.feed({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}) == b""
    assert stream.feed({"choices": [{"index": 1, "delta": {"content": "other"}}]}) == b""


# --- Every split

_said = st.text(max_size=6)
_messages = st.fixed_dictionaries(
    {},
    optional={
        "reasoning": _said,
        "content": st.none() | _said,
        "refusal": st.none() | _said,
        "tool_calls": st.lists(
            # Blank arguments become "{}" in a whole answer, and get a "{}" behind them in a stream.
            st.tuples(
                st.sampled_from(["search", "open"]), _said.filter(lambda one: not one.isspace())
            ),
            max_size=3,
        ),
    },
)


def pieces(draw, text: str) -> list[str]:
    """`text` cut at any places."""
    if not text:
        return []
    cuts = sorted(draw(st.sets(st.integers(1, len(text)), max_size=3)) | {len(text)})
    return [text[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]


@st.composite
def split_answers(draw):
    """A message, and deltas that make it: in order, but the calls' arguments in turns."""
    message = draw(_messages)
    deltas: list[dict] = []
    for name in ("reasoning", "content", "refusal"):
        deltas += [{name: piece} for piece in pieces(draw, message.get(name) or "")]
    waiting = []
    for index, (name, arguments) in enumerate(message.get("tool_calls") or ()):
        first = call_delta(index, "", id=f"c{index}", name=name)
        rest = [call_delta(index, piece) for piece in pieces(draw, arguments)]
        waiting.append([first, *rest])
    begun: list[list[dict]] = []
    while waiting or any(begun):
        choices = [call for call in begun if call] + waiting[:1]
        call = draw(st.sampled_from(choices))
        if waiting and call is waiting[0]:
            begun.append(waiting.pop(0))
        deltas.append({"tool_calls": [call.pop(0)]})
    if "tool_calls" in message:
        message["tool_calls"] = [
            {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": said}}
            for at, (name, said) in enumerate(message["tool_calls"])
        ]
    return message, joined(draw, deltas)


def joined(draw, deltas: list[dict]) -> list[dict]:
    """Some neighbours in one delta."""
    made: list[dict] = []
    for delta in deltas:
        if made and draw(st.booleans()):
            for name, said in delta.items():
                made[-1][name] = made[-1][name] + said if name in made[-1] else said
        else:
            made.append(delta)
    return made


_finishes = st.sampled_from(["stop", "tool_calls", "length", "content_filter", None])


@given(split_answers(), _finishes, st.sampled_from([FRANK, AGENT]))
@settings(max_examples=200)
def test_at_every_split_the_stream_ends_with_the_whole_answer(split, finish, request):
    message, deltas = split
    events = stream_of(*deltas, finish=finish, request=request)
    check_items(events)
    expected = whole(message, finish, request)
    assert events[-1]["response"] == expected
    assert events[-1]["type"] == f"response.{expected['status']}"
    if expected["status"] == "completed":
        read = read_by_the_package(events)
        assert read.output_text == (message.get("content") or "")
        assert [item.type for item in read.output] == [one["type"] for one in expected["output"]]


_any_calls = st.builds(
    call_delta,
    st.integers(0, 2),
    _said,
    id=st.sampled_from([None, "", "c1", "c2"]),
    name=st.sampled_from([None, "", "a", "b"]),
)
_any_deltas = st.fixed_dictionaries(
    {},
    optional={
        "reasoning": st.none() | _said,
        "reasoning_content": st.none() | _said,
        "content": st.one_of(st.none(), _said, st.lists(_said | st.builds(dict, text=_said))),
        "refusal": st.none() | _said,
        "tool_calls": st.none() | st.lists(_any_calls, max_size=2),
    },
)


@given(st.lists(_any_deltas, max_size=8), _finishes)
@settings(max_examples=200)
def test_in_any_order_the_events_stay_valid(deltas, finish):
    events = stream_of(*deltas, finish=finish)
    check_items(events)
    if events[-1]["type"] == "response.completed":
        assert read_by_the_package(events)
