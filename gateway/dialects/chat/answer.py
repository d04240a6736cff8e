"""The one reader of a provider's answer: its text, thoughts, tool calls and finish reason.

Providers write the same answer in several forms. `make_plain` runs once on each message or delta,
when it arrives (see `mending`), and whoever reads it afterwards finds plain texts. The content log
may hold answers that weren't made plain, so `logged_answers` reads every form.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import orjson

# Finish reasons of a provider that gave up: what it has written is no answer.
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
_THOUGHTS = ("reasoning", "reasoning_content", "reasoning_details")


# --- Text and thoughts ---------------------------------------------------------------------------


def make_plain(said: dict) -> None:
    """Make the text and the thoughts of a message or delta plain, in place.

    Then `content`, `refusal` and `reasoning` are texts, null or missing, and `reasoning` has all
    thoughts. The provider's own `reasoning_content` stays beside it, for clients that read it.
    """
    content, refusal = said.get("content"), said.get("refusal")
    thought = said.get("reasoning") or said.get("reasoning_content")
    if not (
        # Every delta passes here: a function for this would cost as much again.
        (content is None or type(content) is str)
        and (refusal is None or type(refusal) is str)
        and (thought is None or type(thought) is str)
    ):
        thought, _ = spoken(said)
        for name in ("content", "refusal", "reasoning"):
            if name in said and said[name] is not None:
                said[name] = _text(said[name])
    if thought:
        said["reasoning"] = thought


def spoken(said: dict) -> tuple[str, str]:
    """Return the thoughts and the text of a message, a delta, or a choice of text completions."""
    thought = _text(said.get("reasoning") or said.get("reasoning_content"))
    content = said.get("content", said.get("text"))
    if type(content) is list:  # Some providers put parts here, and their thoughts among them.
        thoughts = [_text(part.get("thinking")) for part in content if type(part) is dict]
        thought += "".join(thoughts)
    return thought, _text(content) + _text(said.get("refusal"))


def thought_in(details: Any) -> str:
    """Return the readable thoughts in the `reasoning_details` of a whole message.

    In a stream some providers repeat there what they have sent in `reasoning`.
    """
    parts = [one for one in details if type(one) is dict] if type(details) is list else []
    texts = [part.get("text") or part.get("summary") for part in parts]
    return "".join(text for text in texts if type(text) is str)


def hide_thoughts(said: dict) -> None:
    """Remove the thoughts from a message or delta, whichever form it has."""
    for name in _THOUGHTS:
        said.pop(name, None)
    if isinstance(said.get("content"), list):
        said["content"] = [one for one in said["content"] if not _is_thought(one)]


def _is_thought(part: Any) -> bool:
    return isinstance(part, dict) and "thinking" in part


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is list:
        return "".join(_text(part) for part in value)
    if type(value) is dict:
        return _text(value.get("text"))
    return ""


# --- Tool calls ----------------------------------------------------------------------------------


def tool_calls(said: dict) -> list[dict]:
    calls = said.get("tool_calls")
    return [call for call in calls if type(call) is dict] if type(calls) is list else []


def name_and_arguments(call: dict) -> tuple[str, str]:
    """Return what a tool call, or a fragment of one, says about its function."""
    function = call.get("function")
    if type(function) is not dict:
        return "", ""
    arguments = function.get("arguments")
    if type(arguments) is dict:
        arguments = orjson.dumps(arguments).decode()
    return _text(function.get("name")), _text(arguments)


def index_of(part: dict) -> int:
    """Return the `index` of a choice or tool call, or 0 if it has no valid one."""
    index = part.get("index")
    return index if isinstance(index, int) else 0


# --- Size ----------------------------------------------------------------------------------------


def content_bytes(message: dict) -> int:
    """Return the bytes of text in a message or delta: content, thoughts, refusal, tool calls."""
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
    """Return the bytes of text in a string, or in a list of parts as some providers send."""
    if isinstance(said, str):
        return len(said) if said.isascii() else len(said.encode())
    if isinstance(said, list):
        return sum(_size(part) for part in said)
    if isinstance(said, dict):
        return _size(said.get("text")) + _size(said.get("thinking"))
    return 0


# --- Finish reason -------------------------------------------------------------------------------


def finish_meaning(native: Any, *, called: bool = False) -> str:
    """Return OpenAI's word for a provider's finish reason.

    `called` is true when the answer calls tools. Some providers say "stop" even then, but clients
    look for calls only if the reason is `tool_calls`.
    """
    reason = _MEANINGS.get(native, "stop") if isinstance(native, str) else "stop"
    return "tool_calls" if called and reason == "stop" else reason


def state_finish_reason(choice: dict, *, called: bool) -> None:
    """Replace a choice's finish reason by OpenAI's word; the provider's own stays beside it."""
    native = choice["finish_reason"]
    choice["finish_reason"] = finish_meaning(native, called=called)
    choice["native_finish_reason"] = native


# --- The content log -----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the content log holds it. `calls` has the name and arguments of each call."""

    thought: str
    text: str
    calls: list[tuple[str, str]]


def logged_answers(logged: list) -> Iterator[Answer]:
    """Yield the answers of one request in the order of their indexes.

    `logged` holds the choices of a whole answer, or the messages that were gathered from a stream.
    """
    for choice in sorted((one for one in logged if isinstance(one, dict)), key=index_of):
        nested = choice.get("message")
        message = nested if isinstance(nested, dict) else choice
        thought, text = spoken(message)
        yield Answer(thought, text, [_logged_call(call) for call in tool_calls(message)])


def _logged_call(call: dict) -> tuple[str, str]:
    # A call that was gathered from a stream has its function's members beside its id.
    return name_and_arguments(call if "function" in call else {"function": call})
