"""A chat answer as a Message: what its parts are called, whether it comes whole or in chunks."""

from collections.abc import Collection
from typing import Any

import orjson

from gateway.dialects.chat.answer import (
    finish_meaning,
    name_and_arguments,
    tool_calls,
)

# Says that a thinking block is Kyma's. No open model checks one, but some clients drop the blocks
# that have none. It has to be base64.
SIGNATURE = "a3ltYQ=="
# The key that Anthropic proposes for tool input that a model got wrong. An empty object in its
# place would be a call without arguments, which a tool might obey.
INVALID_JSON = "INVALID_JSON"

_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
_FEW_BRACKETS = 200  # JSON with no more of them is not too deep to be written out again.


def tells_thinking(body: dict) -> bool:
    """Whether a request wants to read what is thought. Whoever doesn't say so reads the first block
    as the answer.
    """
    thinking = body.get("thinking")
    return thinking is not None and thinking["type"] != "disabled"


def message(
    answer: dict, usage: dict, stop_sequences: Collection[str] = (), *, tells_thinking: bool = True
) -> dict:
    """The whole answer, of which only the first choice counts: there is never another.

    `stop_sequences` are those that were asked for.
    """
    choice = (answer.get("choices") or [{}])[0]
    said = choice.get("message") or {}
    own_id = message_id(answer["id"])
    thought = said.get("reasoning")
    text = (said.get("content") or "") + (said.get("refusal") or "")
    calls = tool_calls(said)
    content: list[dict] = []
    if thought and tells_thinking:
        content.append({"type": "thinking", "thinking": thought, "signature": SIGNATURE})
    if text:
        content.append({"type": "text", "text": text})
    content += [_tool_use(call, own_id, place) for place, call in enumerate(calls)]
    return {
        **opening(own_id, answer["model"]),
        "content": content,
        **ending(
            choice.get("finish_reason"),
            calls=bool(calls),
            refused=bool(said.get("refusal")),
            stopped_at=stopped_at(choice, stop_sequences),
        ),
        "usage": usage_object(usage),
    }


def message_id(answer_id: str) -> str:
    return f"msg_{answer_id.removeprefix('chatcmpl-')}"


def opening(own_id: str, model: str) -> dict:
    """The members of a Message that are known before it begins."""
    return {
        "id": own_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def tool_use_id(given: Any, own_id: str, place: int) -> str:
    """The provider's id for a tool call, or one made from the message's."""
    if type(given) is str and given:
        return given
    return f"toolu_{own_id.removeprefix('msg_')}_{place}"


def tool_input(arguments: str) -> dict:
    """The arguments of a tool call as an object, come what may."""
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
    """Whether a message may hold the object: orjson reads deeper than it writes."""
    if arguments.count("{") + arguments.count("[") <= _FEW_BRACKETS:
        return True
    try:
        orjson.dumps([[[[parsed]]]])
    except orjson.JSONEncodeError:
        return False
    return True


def _tool_use(call: dict, own_id: str, place: int) -> dict:
    name, arguments = name_and_arguments(call)
    return {
        "type": "tool_use",
        "id": tool_use_id(call.get("id"), own_id, place),
        "name": name,
        "input": tool_input(arguments),
    }


def ending(finish_reason: Any, *, calls: bool, refused: bool, stopped_at: str | None) -> dict:
    """Why it ended. Clients look for tool calls only where the reason is tool_use: providers aren't
    so strict.
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
    """The stop sequence at which a choice ended, where its provider tells: vLLM and SGLang do."""
    told = (choice.get(name) for name in ("stop_reason", "matched_stop"))
    return next((one for one in told if isinstance(one, str) and one in stop_sequences), None)


def usage_object(usage: dict) -> dict:
    """Kyma's usage as Anthropic counts it: input without what came from the cache."""
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
