"""A whole chat answer becomes a Message of Anthropic's."""

import orjson
import pytest

from gateway.dialects.anthropic.api import message, shows_thinking
from gateway.dialects.anthropic.message import INVALID_JSON
from tests.support.gateway.anthropic_answers import (
    TEXT,
    THINKING,
    USAGE,
    accumulated,
    answer_with,
    call,
    chunk,
    message_with,
    streamed,
    tool_use,
)


def test_a_whole_answer():
    made = message(answer_with(content="Hi", reasoning="hm", tool_calls=[call()]), USAGE)
    assert orjson.loads(orjson.dumps(made)) == {
        "id": "msg_req1",
        "type": "message",
        "role": "assistant",
        "model": "kyma/m",
        "content": [THINKING, TEXT, tool_use()],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 6,
            "output_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens_details": {"thinking_tokens": 2},
            "cost": 0.000001,
        },
    }


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ({}, []),
        ({"content": None, "reasoning": None, "tool_calls": None}, []),
        ({"content": ""}, []),
        ({"content": "Hi", "reasoning_content": "hm"}, [THINKING, TEXT]),
        (
            {"content": "Hi", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}, 7]},
            [THINKING, TEXT],
        ),
        (
            {"content": "Hi", "reasoning": "hm", "reasoning_details": [{"summary": "in short"}]},
            [THINKING, TEXT],
        ),
        ({"content": "Hi", "reasoning": "hm", "reasoning_content": "hm"}, [THINKING, TEXT]),
        ({"content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}, [TEXT]),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, TEXT]},
            [THINKING, TEXT],
        ),
        ({"content": None, "refusal": "Hi"}, [TEXT]),
        ({"content": 5, "reasoning": {}, "refusal": []}, []),
        ({"content": {"text": "Hi"}, "reasoning": [{"text": "h"}, "m"]}, [THINKING, TEXT]),
        ({"tool_calls": [{"id": "c1", "function": None}]}, [tool_use(name="")]),
    ],
)
def test_what_the_blocks_are(said, content):
    assert message_with(**said)["content"] == content


INPUTS = [
    ('{"q": 1}', {"q": 1}),
    ("", {}),
    (" \n", {}),
    ("null", {}),
    ('{"q": ', {INVALID_JSON: '{"q": '}),
    ("[1]", {INVALID_JSON: "[1]"}),
    ('"q"', {INVALID_JSON: '"q"'}),
    ('{"q":' * 300 + "1" + "}" * 300, {INVALID_JSON: '{"q":' * 300 + "1" + "}" * 300}),
]


@pytest.mark.parametrize(("arguments", "expected"), INPUTS)
def test_tool_input_is_always_an_object(arguments, expected):
    made = message(answer_with(tool_calls=[call(arguments=arguments)]), USAGE)
    assert orjson.loads(orjson.dumps(made))["content"] == [tool_use(input=expected)]


REASONS = [
    ("stop", {}, "end_turn"),
    ("length", {}, "max_tokens"),
    ("model_length", {}, "max_tokens"),
    ("content_filter", {}, "refusal"),
    ("stop_sequence", {}, "stop_sequence"),
    (None, {}, "end_turn"),
    ("new", {}, "end_turn"),
    (["stop"], {}, "end_turn"),
    ("stop", {"refusal": "No."}, "refusal"),
    ("tool_calls", {}, "end_turn"),
    ("tool_calls", {"tool_calls": [call()]}, "tool_use"),
    ("stop", {"tool_calls": [call()]}, "tool_use"),
    ("length", {"tool_calls": [call()]}, "max_tokens"),
]


@pytest.mark.parametrize(("finish_reason", "said", "expected"), REASONS)
def test_why_an_answer_stopped(finish_reason, said, expected):
    assert message_with(finish_reason, **said)["stop_reason"] == expected
    assert accumulated(streamed(chunk(finish_reason, **said)))["stop_reason"] == expected


@pytest.mark.parametrize(
    ("told", "reason", "sequence"),
    [
        ({"stop_reason": "END"}, "stop_sequence", "END"),
        ({"matched_stop": "END"}, "stop_sequence", "END"),
        ({"matched_stop": 151645}, "end_turn", None),
        ({"stop_reason": "eos"}, "end_turn", None),
        ({"stop_reason": "END", "finish_reason": "length"}, "max_tokens", None),
    ],
)
def test_the_stop_sequence_is_named_if_the_provider_tells(told, reason, sequence):
    answer = answer_with(content="Hi")
    answer["choices"][0] |= told
    made = message(answer, USAGE, ["STOP", "END"])
    assert (made["stop_reason"], made["stop_sequence"]) == (reason, sequence)
    last = chunk("stop")
    last["choices"][0] |= told
    ended = accumulated(streamed(chunk(content="Hi"), last, stop_sequences=["STOP", "END"]))
    assert (ended["stop_reason"], ended["stop_sequence"]) == (reason, sequence)


@pytest.mark.parametrize(
    ("thinking", "told"),
    [
        (None, False),
        ({"type": "disabled"}, False),
        ({"type": "enabled", "budget_tokens": 1024}, True),
        ({"type": "adaptive"}, True),
        ({"type": "between_tools"}, True),
    ],
)
def test_the_first_block_is_text_unless_thinking_was_asked_for(thinking, told):
    assert shows_thinking({"thinking": thinking}) is told
    answer = answer_with(content="Hi", reasoning="hm")
    made = message(answer, USAGE, shows_thinking=told)
    assert made["content"] == [THINKING, TEXT][not told :]
    assert made["usage"]["output_tokens"] == 5


def test_nothing_is_said_of_thinking_without_the_field():
    assert not shows_thinking({})
