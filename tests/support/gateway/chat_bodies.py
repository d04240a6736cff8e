"""Chat requests to test with, and what becomes of them."""

import orjson
import pytest

from gateway.dialects.chat.request import ChatRequest, parse
from gateway.errors import GatewayError, InvalidRequest
from gateway.providers.body import upstream_body

HELLO = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
FUNCTION = {"name": "search", "parameters": {"type": "object"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
REPLY = {"role": "tool", "tool_call_id": "c1", "content": "found"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="

# One valid value of every field that goes to the provider as it came.
GIVEN = {
    "temperature": 0.7,
    "top_p": 1,
    "stop": ["\n", "END"],
    "seed": -(2**63),
    "frequency_penalty": -2,
    "presence_penalty": 2.0,
    "logit_bias": {"50256": -100, "7": 1.5},
    "logprobs": True,
    "top_logprobs": 20,
    "response_format": FORMAT,
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "search"}},
    "parallel_tool_calls": False,
    "reasoning_effort": "max",
    "prediction": {"type": "content", "content": "x"},
    "modalities": ["text"],
    "top_k": -1,
    "min_p": 0.05,
    "top_a": 0,
    "repetition_penalty": 1.1,
    "reasoning": {"effort": "low", "max_tokens": 100, "exclude": False, "new": 1},
    "cache_control": {"type": "ephemeral"},
    "functions": [FUNCTION],
    "function_call": {"name": "search"},
}
NEVER_FORWARDED = {
    "user": "alice",
    "metadata": {"person": "alice"},
    "safety_identifier": "alice",
    "session_id": "s1",
    "prompt_cache_key": "k1",
    "store": True,
    "service_tier": "auto",
    "models": ["other/model"],
    "route": "fallback",
    "provider": {"order": ["a"], "sort": "price", "max_price": {"prompt": 1}, "zdr": True},
    "transforms": ["middle-out"],
    "plugins": [{"id": "context-compression"}],
    "usage": {"include": True},
    "trace": {"id": "t"},
    "debug": {"echo_upstream_body": True},
}


def body_with(**fields) -> dict:
    return {"model": "kyma/model", "messages": [HELLO], **fields}


def request_with(**fields) -> ChatRequest:
    return parse(body_with(**fields))


def forwarded(request: ChatRequest, **options) -> dict:
    defaults = {
        "upstream_model": "org/upstream",
        "max_tokens": 77,
        "passthrough": False,
        "unsupported": frozenset(),
        "wants_max_completion_tokens": False,
    }
    return orjson.loads(upstream_body(request, **(defaults | options)))


def refusal(body: dict, error: type[GatewayError] = InvalidRequest) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        parse(body)
    assert type(caught.value) is error
    assert f"`{caught.value.param}` " in caught.value.message
    assert caught.value.body("req_1")
    return caught.value
