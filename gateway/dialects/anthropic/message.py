"""A whole chat answer as a Message, and the members that a streamed Message shares with it."""

from collections.abc import Collection
from typing import Any

import orjson

from gateway.dialects.chat.answer import finish_meaning, name_and_arguments

# Marks a thinking block as Kyma's. Open models check no signature, but some clients drop blocks
# without one. It has to be base64.
SIGNATURE = "a3ltYQ=="
# The key that Anthropic proposes for tool input that a model got wrong. An empty object in its
# place would be a call without arguments, which a tool might obey.
INVALID_JSON = "INVALID_JSON"

_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
_FEW_BRACKETS = 200  # JSON with no more of them is not too deep to be written out again.


def shows_thinking(body: dict) -> bool:
    """True when a request asks for thinking. Other callers read the first block as the answer."""
    thinking = body.get("thinking")
    return thinking is not None and thinking["type"] != "disabled"


def message(
    answer: dict, usage: dict, stop_sequences: Collection[str] = (), *, shows_thinking: bool = True
) -> dict:
    """Return a mended answer as a Message. There is never more than one choice.

    `stop_sequences` are those of the request.
    """
    choice = (answer.get("choices") or [{}])[0]
    said = choice.get("message") or {}
    calls = said.get("tool_calls") or ()
    return {
        **opening(message_id(answer["id"]), answer["model"]),
        "content": _content(said, shows_thinking) + [_tool_use(call) for call in calls],
        **ending(
            choice.get("finish_reason"),
            calls=bool(calls),
            refused=bool(said.get("refusal")),
            stopped_at=stopped_at(choice, stop_sequences),
        ),
        "usage": usage_object(usage),
    }


def _content(said: dict, shows_thinking: bool) -> list[dict]:
    content: list[dict] = []
    thought = said.get("reasoning")
    if thought and shows_thinking:
        content.append({"type": "thinking", "thinking": thought, "signature": SIGNATURE})
    if text := (said.get("content") or "") + (said.get("refusal") or ""):
        content.append({"type": "text", "text": text})
    return content


def message_id(answer_id: str) -> str:
    return f"msg_{answer_id.removeprefix('chatcmpl-')}"


def opening(own_id: str, model: str) -> dict:
    """Return the members of a Message that are known before it begins."""
    return {
        "id": own_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def tool_input(arguments: str) -> dict:
    """Return the arguments of a tool call as an object, even if the model wrote something else."""
    if arguments.strip() in ("", "null"):
        return {}
    try:
        parsed = orjson.loads(arguments)
        if type(parsed) is dict and _can_be_written(arguments, parsed):
            return parsed
    except orjson.JSONDecodeError:
        pass
    return {INVALID_JSON: arguments}


def _can_be_written(arguments: str, parsed: dict) -> bool:
    """True when a message may hold the object: orjson reads deeper nesting than it writes."""
    if arguments.count("{") + arguments.count("[") <= _FEW_BRACKETS:
        return True
    try:
        orjson.dumps([[[[parsed]]]])
    except orjson.JSONEncodeError:
        return False
    return True


def _tool_use(call: dict) -> dict:
    name, arguments = name_and_arguments(call)
    return {"type": "tool_use", "id": call["id"], "name": name, "input": tool_input(arguments)}


def ending(finish_reason: Any, *, calls: bool, refused: bool, stopped_at: str | None) -> dict:
    """Return the members that say why the answer ended.

    Clients look for tool calls only if the reason is tool_use. Providers aren't so strict.
    """
    reason = _STOP_REASONS.get(finish_meaning(finish_reason))
    if reason is None and refused:
        reason = "refusal"
    if reason is None and (stopped_at is not None or finish_reason == "stop_sequence"):
        reason = "stop_sequence"
    return {
        "stop_reason": reason or ("tool_use" if calls else "end_turn"),
        "stop_sequence": stopped_at if reason == "stop_sequence" else None,
    }


def stopped_at(choice: dict, stop_sequences: Collection[str]) -> str | None:
    """Return the stop sequence that ended a choice, if its provider names it (vLLM, SGLang)."""
    named = (choice.get(name) for name in ("stop_reason", "matched_stop"))
    return next((one for one in named if isinstance(one, str) and one in stop_sequences), None)


def usage_object(usage: dict) -> dict:
    """Return Kyma's usage as Anthropic counts it: input tokens exclude those from the cache."""
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": usage["prompt_tokens"] - cached,
        "output_tokens": usage["completion_tokens"],
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens_details": {
            "thinking_tokens": usage["completion_tokens_details"]["reasoning_tokens"]
        },
        "cost": usage["cost"],
    }
