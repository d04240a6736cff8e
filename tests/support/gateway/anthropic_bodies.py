"""Messages requests to test with, and what becomes of them."""

import pytest

from gateway.dialects.anthropic.api import chat_body
from gateway.dialects.chat import request as chat_request
from gateway.errors import GatewayError, InvalidRequest

MARK = {"type": "ephemeral", "ttl": "1h"}
CACHED = {"cache_control": MARK}
HELLO = {"role": "user", "content": "Hello"}
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
TOOL = {"name": "search", "description": "Finds.", "input_schema": SCHEMA}
FORMAT = {"type": "json_schema", "schema": SCHEMA}
CALL = {"type": "tool_use", "id": "t1", "name": "search", "input": {"q": "x"}}
CALLING = {"role": "assistant", "content": [CALL]}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
IMAGE = {"type": "image", "source": PNG}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
DOCUMENT = {
    "type": "document",
    "title": "Lawn",
    "context": "From a diary.",
    "source": {"type": "text", "media_type": "text/plain", "data": "The grass is green."},
}
SEARCH_RESULT = {
    "type": "search_result",
    "title": "Sky",
    "source": "https://example.org/sky",
    "content": [{"type": "text", "text": "The sky"}, {"type": "text", "text": "is blue."}],
}
LABEL = {"type": "text", "text": "[image 1 of the tool results]"}
CHAT_CALL = {
    "id": "t1",
    "type": "function",
    "function": {"name": "search", "arguments": '{"q":"x"}'},
}
CHAT_CALLING = {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]}
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
    "cost": 0.5,
}


def text(said: str, **members) -> dict:
    return {"type": "text", "text": said, **members}


def user(*blocks: dict) -> dict:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict) -> dict:
    return {"role": "assistant", "content": list(blocks)}


def result(content=None, **members) -> dict:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content, **members}


def body_with(**fields) -> dict:
    return {"model": "best", "max_tokens": 50, "messages": [HELLO], **fields}


def chat_with(**fields) -> dict:
    """The chat request that comes of it, which Kyma has to accept."""
    chat = chat_body(body_with(**fields))
    chat_request.parse(chat)
    return chat


def chat_messages(*messages: dict) -> list[dict]:
    return chat_with(messages=list(messages))["messages"]


def new_in(chat: dict) -> dict:
    return {name: value for name, value in chat.items() if name not in body_with()}


def refusal(body: dict, read=chat_body) -> InvalidRequest:
    with pytest.raises(GatewayError) as caught:
        read(body)
    assert type(caught.value) is InvalidRequest
    assert caught.value.message.endswith(".")
    return caught.value
