"""Whole chat answers, made Responses."""

import orjson
import pytest
from openai.types.responses import Response

from gateway.dialects.chat.chunks import usage_object
from gateway.dialects.responses.answer import response
from gateway.dialects.responses.stream import ResponseStream
from tests.support.gateway.responses_bodies import (
    AGENT,
    CHAT_CALL,
    CHAT_OTHER_CALL,
    USAGE,
    answer_with,
    body_with,
    check_items,
    events_in,
    stream_of,
    whole,
)

# What stands in a response whose request said nothing of it.
UNSAID = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


def test_a_whole_answer_is_a_response():
    request = {"model": "best", "input": "Hello"}
    message = {"content": "Hi", "reasoning": "Hm.", "tool_calls": [CHAT_CALL]}
    expected = UNSAID | {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "m",
        "output": [
            {
                "type": "reasoning",
                "id": "rs_1_0",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "Hm."}],
            },
            {
                "type": "message",
                "id": "msg_1_1",
                "role": "assistant",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
                ],
            },
            {
                "type": "function_call",
                "id": "fc_1_2",
                "call_id": "c1",
                "name": "search",
                "arguments": "{}",
                "status": "completed",
            },
        ],
        "usage": {
            "input_tokens": 30,
            "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 0},
            "output_tokens": 12,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 42,
            "cost": 0.0015,
        },
    }
    assert whole(message, finish="tool_calls", request=request) == expected


def test_a_response_repeats_its_request():
    made = whole({"content": "Hi"}, request=AGENT)
    for name in ("instructions", "metadata", "parallel_tool_calls", "reasoning", "tool_choice"):
        assert made[name] == AGENT[name]
    assert made["tools"][0] == {**AGENT["tools"][0], "description": None}
    assert made["text"]["format"] == {**AGENT["text"]["format"], "description": None}
    assert made["text"]["verbosity"] == "low"
    assert made["max_output_tokens"] == 100
    assert made["temperature"] == 0.5
    assert made["store"] is False


def test_the_response_says_that_nothing_was_left_out_of_the_prompt():
    request = body_with(truncation="auto")
    assert whole({"content": "Hi"}, request=request)["truncation"] == "disabled"
    events = stream_of({"content": "Hi"}, request=request)
    told = [event["response"]["truncation"] for event in events if "response" in event]
    assert set(told) == {"disabled"}


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        (None, "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("model_length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_the_finish_reason_decides_the_status(finish, status, reason):
    made = whole({"content": "Hi"}, finish=finish)
    assert made["status"] == made["output"][0]["status"] == status
    assert made["incomplete_details"] == ({"reason": reason} if reason else None)


def test_only_what_was_said_last_is_incomplete():
    made = whole({"content": "Hi", "tool_calls": [CHAT_CALL, CHAT_OTHER_CALL]}, finish="length")
    assert [item["status"] for item in made["output"]] == ["completed", "completed", "incomplete"]


def test_a_refusal_is_a_part_of_the_message():
    made = whole({"content": None, "refusal": "No."})
    assert made["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_content_in_parts_is_text_and_reasoning():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    made = whole({"content": [thinking, {"type": "text", "text": "Hi"}, "?"]})
    assert [item["content"][0]["text"] for item in made["output"]] == ["Hm.", "Hi?"]


@pytest.mark.parametrize(
    "message",
    [{}, {"content": ""}, {"content": 5, "reasoning": {"a": 1}, "refusal": []}, {"tool_calls": []}],
)
def test_an_answer_without_anything_has_no_output(message):
    assert whole(message)["output"] == []


def test_usage_keeps_the_exact_price():
    usage = usage_object(_Usage(), 1_500_001)
    made = orjson.dumps(response(answer_with({"content": "Hi"}), usage, AGENT))
    assert b'"cost":0.001500001' in made


class _Usage:
    prompt, completion, cached, reasoning = 1, 2, 0, 0


def test_logprobs_stand_beside_the_text():
    entry = {"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    odd = [{"token": 5, "logprob": 1}, "x", {"token": "a", "logprob": None}]
    ranked = {**entry, "top_logprobs": [{"token": "Ho", "logprob": -1, "bytes": [72, 111]}, *odd]}
    answer = answer_with({"content": "Hi"})
    answer["choices"][0]["logprobs"] = {"content": [ranked, *odd], "refusal": None}
    made = response(answer, USAGE, AGENT)
    Response.model_validate_json(orjson.dumps(made), strict=True)
    assert made["output"][0]["content"][0]["logprobs"] == [
        {
            "token": "Hi",
            "logprob": -0.5,
            "bytes": [72, 105],
            "top_logprobs": [{"token": "Ho", "logprob": -1, "bytes": [72, 111]}],
        }
    ]
    stream = ResponseStream(AGENT)
    written = stream.start(id="chatcmpl-1", created=1, model="m")
    choice = {"delta": {"content": "Hi"}, "logprobs": {"content": [ranked, *odd]}}
    events = events_in(written + stream.feed({"choices": [choice]}) + stream.finish(USAGE))
    assert events[-1]["response"] == orjson.loads(orjson.dumps(made))


CITED = {"url": "https://example.org/", "title": "Example", "start_index": 0, "end_index": 2}
CITATION = {"type": "url_citation", "url_citation": CITED}


def test_what_a_text_cites_stands_beside_it():
    odd = ["x", {"type": "url_citation"}, {"url_citation": {"url": 5}}]
    bare = {"url_citation": {"url": "https://example.org/", "title": None, "end_index": "2"}}
    message = {"content": "Hi", "annotations": [CITATION, *odd, bare]}
    expected = [
        {"type": "url_citation", **CITED},
        {**CITED, "type": "url_citation", "title": "", "end_index": 0},
    ]
    made = whole(message)
    assert made["output"][0]["content"][0]["annotations"] == expected
    # Providers send them behind the text.
    late = {"content": "", "annotations": message["annotations"]}
    events = stream_of({"content": "H"}, {"content": "i"}, late)
    told = [event for event in events if event["type"].endswith("annotation.added")]
    assert [(one["annotation_index"], one["annotation"]) for one in told] == [*enumerate(expected)]
    assert events[-1]["response"] == made
    check_items(events)


def test_a_citation_of_nothing_is_left_out():
    assert whole({"annotations": [CITATION]})["output"] == []


def test_a_whole_answer_has_its_reasoning_from_its_details():
    details = [
        {"type": "reasoning.summary", "summary": "H"},
        {"type": "reasoning.text", "text": "m."},
    ]
    for message, told in [
        ({"reasoning_details": details}, "Hm."),
        ({"reasoning_details": details, "reasoning_content": "Ah."}, "Ah."),
    ]:
        (thought, _) = whole({"content": "Hi", **message})["output"]
        assert thought["content"] == [{"type": "reasoning_text", "text": told}]
