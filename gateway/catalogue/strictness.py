"""What a provider refuses, left out or brought into a form that it takes.

`Provider.unsupported` names fields of the body; and beside them, for what lies deeper:

"role:developer"             messages of the developer go as those of the system, which say the same
"cache_control"              marks for caching are left out of messages, their parts and tools, too
"message:reasoning"          what an assistant thought goes back as `reasoning_content`,
"message:reasoning_content"  or as `reasoning`; with both it is left out
"message:reasoning_details"  is left out,
"message:name"               too, but where it names the function whose result a message is
"effort:xhigh"               the nearest effort that is taken goes instead; but who wants some
                             thought never gets "none": rather what the model does by itself

Of `reasoning`, where that is named, the effort goes as `reasoning_effort`. What ends in "@qwen/" is
so for the provider's models alone whose own name begins like this.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gateway.dialects.chat.fields import EFFORTS

DEVELOPER_ROLE = "role:developer"
CACHE_MARK = "cache_control"
REASONING = ("reasoning", "reasoning_content")  # Two names for the same text.


def marks_for(upstream_model: str, unsupported: list[str]) -> frozenset[str]:
    """What of `Provider.unsupported` holds for one model, without saying for which."""
    marks = (mark.partition("@") for mark in unsupported)
    return frozenset(name for name, _, models in marks if upstream_model.startswith(models))


def taken(given: dict[str, Any], unsupported: frozenset[str]) -> dict[str, Any]:
    """Those of the fields `given` that the provider takes, as it takes them."""
    fields = {name: value for name, value in given.items() if name not in unsupported}
    if "reasoning" in given or "reasoning_effort" in given:
        _think(fields, given.get("reasoning") or {}, unsupported)
    return fields


def _think(fields: dict[str, Any], reasoning: dict, unsupported: frozenset[str]) -> None:
    if "reasoning" in fields:
        fields["reasoning"] = dict(reasoning)
        _choose_effort(fields["reasoning"], "effort", unsupported)
    elif reasoning.get("effort") and "reasoning_effort" not in unsupported:
        fields.setdefault("reasoning_effort", reasoning["effort"])
    _choose_effort(fields, "reasoning_effort", unsupported)


def _choose_effort(fields: dict[str, Any], name: str, unsupported: frozenset[str]) -> None:
    """Put an effort that the provider knows under `name`, if one was asked for there."""
    wanted = fields.get(name)
    if wanted is None or f"effort:{wanted}" not in unsupported:
        return
    known = [one for one in EFFORTS[1:] if f"effort:{one}" not in unsupported]
    if known:
        place = EFFORTS.index(wanted)
        fields[name] = min(known, key=lambda one: abs(EFFORTS.index(one) - place))
    else:
        del fields[name]


def softened(body: dict[str, Any], unsupported: frozenset[str]) -> dict[str, Any]:
    """`body` as the provider takes it. What it was made of stays as it is, for other providers."""
    soft = dict(body)
    if DEVELOPER_ROLE in unsupported and "messages" in soft:
        soft["messages"] = [_as_system(message) for message in soft["messages"]]
    names = (*REASONING, "reasoning_details", "name")
    rejected = {name for name in names if f"message:{name}" in unsupported}
    if rejected and "messages" in soft:
        soft["messages"] = [_without_members(one, rejected) for one in soft["messages"]]
    if CACHE_MARK in unsupported:
        for name, without_marks in (("messages", _message), ("tools", _tool)):
            if name in soft:
                soft[name] = [without_marks(one) for one in soft[name]]
    return soft


def _as_system(message: dict) -> dict:
    return {**message, "role": "system"} if message["role"] == "developer" else message


def _without_members(message: dict, rejected: set[str]) -> dict:
    """The message without these members; its reasoning under the other name, if there is one."""
    if message["role"] in ("tool", "function"):
        return message
    kept = {name: member for name, member in message.items() if name not in rejected}
    accepted = [name for name in REASONING if name not in rejected]
    thought = message.get("reasoning") or message.get("reasoning_content")
    if thought and len(accepted) == 1:
        kept[accepted[0]] = thought
    return kept


def _message(message: dict) -> dict:
    return _unmarked(message, {"content": _unmarked_list, "tool_calls": _unmarked_list})


def _tool(tool: Any) -> Any:
    # No deeper: a parameter of the function may bear that name.
    return _unmarked(tool, {"function": _unmarked})


def _unmarked_list(value: Any) -> Any:
    return [_unmarked(one) for one in value] if isinstance(value, list) else value


def _unmarked(value: Any, inner: Mapping[str, Callable] = MappingProxyType({})) -> Any:
    """An object without its mark; `inner` says what becomes of which members."""
    if not isinstance(value, dict):
        return value
    kept = {name: member for name, member in value.items() if name != CACHE_MARK}
    return kept | {name: change(kept[name]) for name, change in inner.items() if name in kept}
