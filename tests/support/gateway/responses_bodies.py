"""Responses requests to test with, what becomes of them, and the events of streamed answers."""

import typing

import orjson
import pytest
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from gateway.dialects.chat import request as chat_request
from gateway.dialects.chat.mending import Mender, mend_whole
from gateway.dialects.responses.answer import response
from gateway.dialects.responses.request import chat_body
from gateway.dialects.responses.seal import Seal
from gateway.dialects.responses.stream import ResponseStream
from gateway.errors import GatewayError, InvalidRequest
from tests.support.gateway.chat_bodies import PIXEL, SCHEMA

TYPES = {
    typing.get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in typing.get_args(typing.get_args(ResponseStreamEvent)[0])
}
PARAMETERS = {"type": "object", "properties": {"q": {"type": "string"}}}
TOOL = {"type": "function", "name": "search", "parameters": PARAMETERS, "strict": True}
OTHER_TOOL = {"type": "function", "name": "open", "description": "Opens.", "strict": None}
CHAT_TOOL = {
    "type": "function",
    "function": {"name": "search", "parameters": PARAMETERS, "strict": True},
}
CHAT_OTHER_TOOL = {"type": "function", "function": {"name": "open", "description": "Opens."}}
USER = {"role": "user", "content": "Hello"}
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "search",
    "arguments": "{}",
    "status": "completed",
}
OTHER_CALL = {"type": "function_call", "call_id": "c2", "name": "open", "arguments": ""}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "found"}
OTHER_OUTPUT = {"type": "function_call_output", "call_id": "c2", "output": "opened"}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Hm."}],
    "encrypted_content": None,
}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
CHAT_OTHER_CALL = {"id": "c2", "type": "function", "function": {"name": "open", "arguments": ""}}
CHAT_REPLY = {"role": "tool", "tool_call_id": "c1", "content": "found"}
FORMAT = {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 12,
    "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 5},
    "cost": 0.0015,
}

# What a coding agent sends in the middle of its work.
AGENT = {
    "model": "kyma/model",
    "instructions": "You are an agent.",
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "Rules"}],
        },
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
            ],
        },
        THOUGHT,
        ANSWER,
        CALL,
        OTHER_CALL,
        OUTPUT,
        {**OTHER_OUTPUT, "output": [{"type": "input_text", "text": "opened"}]},
    ],
    "tools": [TOOL, OTHER_TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "text": {"format": FORMAT, "verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.9,
    "stream": True,
    "store": False,
    "prompt_cache_key": "k",
    "client_metadata": {"person": "alice"},
    "metadata": {"a": "b"},
    "truncation": "disabled",
    "user": "alice",
}


# The same, of a caller who wants what is thought as it is.
FRANK = {**AGENT, "reasoning": {"effort": "medium"}}


def body_with(**fields) -> dict:
    return {"model": "kyma/model", "input": "Hello", **fields}


def translated(**fields) -> dict:
    """The chat body of a request with `fields`; chat accepts it."""
    chat = chat_body(body_with(**fields))
    assert chat_request.parse(chat)
    return chat


def messages_of(*items: dict) -> list[dict]:
    return translated(input=list(items))["messages"]


def refusal(error: type[GatewayError] = InvalidRequest, **fields) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        chat_request.parse(chat_body(body_with(**fields)))
    assert type(caught.value) is error
    assert f"`{caught.value.param}` " in caught.value.message
    return caught.value


def answer_with(message: dict) -> dict:
    return {"id": "chatcmpl-1", "created": 1, "model": "m", "choices": [{"message": message}]}


def stream_of(
    *deltas: dict,
    finish: str | None = "stop",
    request: dict = FRANK,
    seal: Seal | None = None,
) -> list[dict]:
    """The events of a stream with these deltas, each of them valid."""
    stream = ResponseStream(request, seal)
    written = stream.start(id="chatcmpl-1", created=1, model="m")
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    mender = Mender("chatcmpl-1")
    for choice in orjson.loads(orjson.dumps(choices)):
        mender.mend({"choices": [choice]})
        written += stream.feed({"choices": [choice]})
    return events_in(written + stream.finish(USAGE))


def events_in(written: bytes) -> list[dict]:
    events = []
    for number, block in enumerate(written.decode().removesuffix("\n\n").split("\n\n")):
        name, data = block.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        TYPES[event["type"]].model_validate_json(orjson.dumps(event), strict=True)
        events.append(event)
    return events


def names_of(events: list[dict]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def whole(
    message: dict,
    finish: str | None = "stop",
    request: dict = FRANK,
    seal: Seal | None = None,
) -> dict:
    answer = orjson.loads(orjson.dumps(answer_with(message)))
    answer["choices"][0]["finish_reason"] = finish
    mend_whole(answer)
    made = response(answer, USAGE, request, seal)
    Response.model_validate_json(orjson.dumps(made), strict=True)
    return orjson.loads(orjson.dumps(made))


def check_items(events: list[dict]) -> None:
    """Indexes have no gap, each item is opened and closed once, and the deltas make its texts."""
    opened = [event["output_index"] for event in events if event["type"].endswith("item.added")]
    closed = {
        event["output_index"]: event["item"]
        for event in events
        if event["type"].endswith("item.done")
    }
    output = events[-1]["response"]["output"]
    for event in events:
        if "part" in event and event["type"].endswith("done"):
            place = "summary" if "summary_index" in event else "content"
            part = output[event["output_index"]][place][event[f"{place}_index"]]
            assert part == event["part"]
    assert opened == list(range(len(output)))
    assert [closed[index] for index in opened] == output
    said: dict[tuple, str] = {}
    for event in events:
        place = tuple(event.get(name) for name in ("item_id", "content_index", "summary_index"))
        if event["type"].endswith(".delta"):
            assert output[event["output_index"]]["id"] == event["item_id"]
            said[place] = said.get(place, "") + event["delta"]
        elif event["type"].endswith(("text.done", "refusal.done", "arguments.done")):
            text = next(event[name] for name in ("text", "refusal", "arguments") if name in event)
            assert said.get(place, "") == text


def read_by_the_package(events: list[dict]):
    """The response that the package's own accumulator ends with."""
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        kind = TYPES[event["type"]]
        state.handle_event(kind.model_validate_json(orjson.dumps(event)))
    return state._completed_response
