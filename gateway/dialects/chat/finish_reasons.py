"""Why an answer ended, in OpenAI's words, whatever its provider calls it."""

from typing import Any

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


def meaning(native: Any, *, called: bool = False) -> str:
    """`called` says that the answer calls tools: some providers say "stop" even then, and clients
    look for calls only where the reason is `tool_calls`.
    """
    reason = _MEANINGS.get(native, "stop") if isinstance(native, str) else "stop"
    return "tool_calls" if called and reason == "stop" else reason


def tell(choice: dict, *, called: bool) -> None:
    """Put the meaning of a choice's finish reason in its place; the provider's own stays beside."""
    native = choice["finish_reason"]
    choice["finish_reason"] = meaning(native, called=called)
    choice["native_finish_reason"] = native
