"""Messages: what they may look like, and how their text and images are counted."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.chat.request import parse
from tests.support.gateway.chat_bodies import (
    CALL,
    CALLING,
    FORMAT,
    FUNCTION,
    HELLO,
    IMAGE,
    PIXEL,
    REPLY,
    TOOL,
    body_with,
    forwarded,
    refusal,
    request_with,
)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Hello", "messages[1]"),
        ({}, "messages[1].role"),
        ({"role": ["user"], "content": "a"}, "messages[1].role"),
        ({"role": "assistent", "content": "a"}, "messages[1].role"),
        ({"role": "user"}, "messages[1].content"),
        ({"role": "user", "content": None}, "messages[1].content"),
        ({"role": "system", "content": None}, "messages[1].content"),
        ({"role": "user", "content": 5}, "messages[1].content"),
        ({"role": "user", "content": {"text": "a"}}, "messages[1].content"),
        ({"role": "user", "content": []}, "messages[1].content"),
        ({"role": "user", "content": ["a"]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{}]}, "messages[1].content[0].type"),
        ({"role": "user", "content": [{"type": ["text"]}]}, "messages[1].content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[1].content[0].text"),
        ({"role": "user", "content": [IMAGE, {"type": "poem"}]}, "messages[1].content[1].type"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[1].content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": PIXEL}]},
            "messages[1].content[0].image_url",
        ),
        ({"role": "user", "content": "a", "name": 1}, "messages[1].name"),
        ({"role": "assistant", "content": 1}, "messages[1].content"),
        ({"role": "assistant", "reasoning": {}}, "messages[1].reasoning"),
        ({"role": "assistant", "reasoning_content": []}, "messages[1].reasoning_content"),
        ({"role": "assistant", "reasoning_details": "a"}, "messages[1].reasoning_details"),
        ({"role": "assistant", "reasoning_details": ["a"]}, "messages[1].reasoning_details[0]"),
        ({"role": "assistant", "tool_calls": {}}, "messages[1].tool_calls"),
        ({"role": "assistant", "tool_calls": [{}]}, "messages[1].tool_calls[0].id"),
        (
            {"role": "assistant", "tool_calls": [CALL | {"type": "poem"}]},
            "messages[1].tool_calls[0].type",
        ),
        (
            {"role": "assistant", "tool_calls": [CALL | {"function": {"name": "a"}}]},
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [CALL | {"function": {"name": "a", "arguments": {}}}],
            },
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            {"role": "assistant", "function_call": {"name": "a"}},
            "messages[1].function_call.arguments",
        ),
        ({"role": "tool", "content": "a"}, "messages[1].tool_call_id"),
        ({"role": "tool", "content": "a", "tool_call_id": ""}, "messages[1].tool_call_id"),
        ({"role": "tool", "tool_call_id": "c1"}, "messages[1].content"),
        ({"role": "function", "content": "a"}, "messages[1].name"),
    ],
)
def test_a_fault_in_a_message_is_named_by_its_path(message, param):
    assert refusal(body_with(messages=[HELLO, message])).param == param


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": ""},
        {"role": "developer", "content": [{"type": "text", "text": "a"}], "name": "boss"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]},
        {"role": "assistant"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "content": "The", "prefix": True},
        {"role": "assistant", "content": "a", "reasoning": "b", "reasoning_content": "c"},
        {"role": "assistant", "reasoning_details": [{"type": "reasoning.text", "text": "b"}]},
        {"role": "assistant", "function_call": {"name": "a", "arguments": "{}"}},
        {"role": "function", "name": "a", "content": "b"},
    ],
)
def test_messages_go_upstream_as_they_came(message):
    assert forwarded(request_with(messages=[message]))["messages"] == [message]


# What clients send back of an answer, or of their own, and what a request holds of it.
ECHOED = [
    (
        {
            **CALLING,
            **dict.fromkeys(("refusal", "audio", "function_call", "reasoning")),
            "annotations": [],
            "provider": "Groq",
            "id": "msg_1",
        },
        CALLING,
    ),
    (
        {**CALLING, "tool_calls": [{**CALL, "index": 0, "extra": None, "cache_control": None}]},
        CALLING,
    ),
    (
        {
            **CALLING,
            "tool_calls": [{"id": "c1", "function": {**CALL["function"], "parsed_arguments": {}}}],
        },
        CALLING,
    ),
    (
        {"role": "assistant", "content": "a", "tool_calls": []},
        {"role": "assistant", "content": "a"},
    ),
    (
        {
            "role": "user",
            "content": [{"type": "text", "text": "a", "prompt_cache_breakpoint": {}, "x": None}],
            "unknown": {"left": [1]},
        },
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
    ),
]


@pytest.mark.parametrize(("message", "sent"), ECHOED)
def test_what_a_request_does_not_hold_stays_here(message, sent):
    assert forwarded(request_with(messages=[message]))["messages"] == [sent]


def test_over_a_passthrough_route_only_what_says_nothing_stays_here():
    message = {"role": "user", "content": "a", "name": None, "unknown": {"kept": [1]}}
    sent = forwarded(request_with(messages=[message]), passthrough=True)["messages"]
    assert sent == [{"role": "user", "content": "a", "unknown": {"kept": [1]}}]


def test_a_thought_that_was_told_under_two_names_goes_back_under_its_providers_own():
    said = {"role": "assistant", "content": "a", "reasoning_content": "b"}
    request = request_with(messages=[{**said, "reasoning": "b"}])
    assert forwarded(request)["messages"] == [said]
    assert request.text_bytes == request_with(messages=[said]).text_bytes


@pytest.mark.parametrize("kind", ["input_audio", "file", "video_url"])
def test_parts_that_are_not_supported_yet_say_so(kind):
    part = {"type": kind, kind: {"data": "x", "format": "wav"}}
    error = refusal(body_with(messages=[{"role": "user", "content": [part]}]))
    assert error.param == "messages[0].content[0]"
    assert "not supported yet" in error.message


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://example.org/cat.png?a=b", True),
        ("HTTP://example.org", True),
        (PIXEL, True),
        ("data:image/svg+xml;base64,AAAA", True),
        ("", False),
        ("https://", False),
        ("cat.png", False),
        ("file:///etc/passwd", False),
        ("javascript:https://example.org", False),
        ("data:image/png,AAAA", False),
        ("data:image/png;base64,", False),
        ("data:text/html;base64,AAAA", False),
        (None, False),
        (5, False),
    ],
)
def test_an_image_is_on_the_web_or_in_the_request(url, accepted):
    part = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    body = body_with(messages=[{"role": "user", "content": [part]}])
    if accepted:
        assert parse(body).images == 1
    else:
        assert refusal(body).param == "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"messages": [{"role": "user", "content": "é€😀\0"}]}, 2 + 3 + 4 + 1),
        ({"messages": [{"role": "user", "content": "ab", "name": "eve"}]}, 5),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "äb"}, IMAGE]}]}, 3),
        (
            {"messages": [{"role": "assistant", "reasoning": "ab", "reasoning_content": "cde"}]},
            5,
        ),
        (
            {"messages": [{"role": "assistant", "reasoning_details": [{"text": "ab"}]}]},
            len('[{"text":"ab"}]'),
        ),
        ({"messages": [CALLING]}, len(orjson.dumps([CALL]))),
        ({"messages": [CALLING, REPLY]}, len(orjson.dumps([CALL])) + len("c1found")),
        ({"messages": [{"role": "user", "content": "", "odd": "abc"}]}, 3),
        ({"messages": [{"role": "user", "content": "", "odd": [1, 2]}]}, 5),
        ({"tools": [TOOL]}, 5 + len(orjson.dumps([TOOL]))),
        ({"functions": [FUNCTION]}, 5 + len(orjson.dumps([FUNCTION]))),
        ({"response_format": {"type": "json_object"}}, 5),
        ({"response_format": FORMAT}, 5 + len(orjson.dumps(FORMAT["json_schema"]))),
        ({"prediction": {"content": "ab"}}, 5 + len('{"content":"ab"}')),
        ({"chat_template": "abc", "documents": [1]}, 5 + 3 + 3),
        ({"user": "alice", "stop": "abc", "metadata": {"a": "b"}}, 5),
    ],
)
def test_all_that_becomes_prompt_is_counted(fields, expected):
    assert request_with(**fields).text_bytes == expected


def test_images_count_as_images_and_not_as_text():
    large = {"type": "image_url", "image_url": {"url": PIXEL + "A" * 100_000}}
    request = request_with(
        messages=[{"role": "user", "content": [IMAGE, large]}, {"role": "user", "content": [IMAGE]}]
    )
    assert (request.images, request.message_count, request.text_bytes) == (3, 2, 0)


def test_text_cannot_hide_from_the_count_in_an_image_key():
    part = {"type": "text", "text": "", "image_url": {"url": "A" * 1000}}
    assert request_with(messages=[{"role": "user", "content": [part]}]).text_bytes > 1000


@given(
    texts=st.lists(st.text(), min_size=1, max_size=5), values=st.dictionaries(st.text(), st.text())
)
def test_no_text_is_left_out_of_the_count(texts, values):
    messages = [{"role": "user", "content": text} for text in texts]
    call = CALL | {"function": {"name": "f", "arguments": json.dumps(values)}}
    messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    in_all = sum(len(text.encode()) for text in [*texts, json.dumps(values)])
    assert request_with(messages=messages).text_bytes >= in_all
