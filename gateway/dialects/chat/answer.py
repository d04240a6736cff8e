"""The one reader of what an answer or a delta says: text, thoughts, tool calls, finish reason."""

from typing import Any

import orjson

# The provider gave up: what it has said so far is not the answer.
BROKEN_OFF = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
_OPENAI = ("stop", "length", "tool_calls", "content_filter", "function_call")
_MEANINGS = {
    **{reason: reason for reason in _OPENAI},
    **dict.fromkeys(BROKEN_OFF, "error"),
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
}


def spoken(said: dict) -> tuple[str, str]:
    """Reasoning and text of a chat message or delta."""
    reasoning = _text(said.get("reasoning") or said.get("reasoning_content"))
    content = said.get("content")
    if type(content) is list:  # Some providers send parts, and their reasoning among them.
        thoughts = [_text(part.get("thinking")) for part in content if type(part) is dict]
        reasoning += "".join(thoughts)
    return reasoning, _text(content) + _text(said.get("refusal"))


def thought_in(details: Any) -> str:
    """What is in the clear of a whole message's `reasoning_details`. (In a stream some providers
    repeat there what they sent before.)
    """
    parts = [one for one in details if type(one) is dict] if type(details) is list else []
    texts = [part.get("text") or part.get("summary") for part in parts]
    return "".join(text for text in texts if type(text) is str)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is list:
        return "".join(_text(part) for part in value)
    if type(value) is dict:
        return _text(value.get("text"))
    return ""


def tool_calls(said: dict) -> list[dict]:
    calls = said.get("tool_calls")
    return [call for call in calls if type(call) is dict] if type(calls) is list else []


def name_and_arguments(call: dict) -> tuple[str, str]:
    """What a tool call, or a fragment of one, says of its function."""
    function = call.get("function")
    if type(function) is not dict:
        return "", ""
    arguments = function.get("arguments")
    if type(arguments) is dict:
        arguments = orjson.dumps(arguments).decode()
    return _text(function.get("name")), _text(arguments)


def index_of(part: dict) -> int:
    """The `index` of a choice or tool call; 0 if it has none that is one."""
    index = part.get("index")
    return index if isinstance(index, int) else 0


def content_bytes(message: dict) -> int:
    """The bytes of text in a message or delta: content, reasoning, refusal, tool arguments."""
    size = 0
    for field in ("content", "refusal", "text"):
        if said := message.get(field):
            size += _size(said)
    if thought := message.get("reasoning") or message.get("reasoning_content"):
        size += _size(thought)
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        size += _size(function.get("name")) + _size(function.get("arguments"))
    return size


def _size(said: Any) -> int:
    """The bytes of text in a string, or in a list of parts as some providers send content."""
    if isinstance(said, str):
        return len(said) if said.isascii() else len(said.encode())
    if isinstance(said, list):
        return sum(_size(part) for part in said)
    if isinstance(said, dict):
        return _size(said.get("text")) + _size(said.get("thinking"))
    return 0


def finish_meaning(native: Any, *, called: bool = False) -> str:
    """`called` says that the answer calls tools: some providers say "stop" even then, and clients
    look for calls only where the reason is `tool_calls`.
    """
    reason = _MEANINGS.get(native, "stop") if isinstance(native, str) else "stop"
    return "tool_calls" if called and reason == "stop" else reason


def state_finish_reason(choice: dict, *, called: bool) -> None:
    """Put the meaning of a choice's finish reason in its place; the provider's own stays beside."""
    native = choice["finish_reason"]
    choice["finish_reason"] = finish_meaning(native, called=called)
    choice["native_finish_reason"] = native
