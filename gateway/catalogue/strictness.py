"""The adaptation of request bodies to strict providers: rejected parts are left out or rewritten.

`Provider.unsupported` names fields of the body, which are left out. These entries do more:

"role:developer"  Send developer messages as system messages, which mean the same.
"cache_control"   Remove cache marks from the body, and also from messages, their parts and tools.
"message:X"       Remove member X from messages. Tool and function messages keep `name`.
                  `reasoning` and `reasoning_content` are two names of the assistant's thoughts:
                  when only one is rejected, the thoughts go back under the other name.
"effort:xhigh"    Send the nearest accepted effort instead. It is never "none" for a caller who asks
                  for some thought: if no other effort is accepted, the model's default applies.
"image_url:remote"  Send no request here that holds the web address of a picture: the server doesn't
                  fetch it. Self-hosted servers never get one (see `entries.unsupported_over`).
"reasoning"       Send only the effort of that object, as `reasoning_effort`.

An entry that ends in "@qwen/" applies only to models whose upstream name begins with "qwen/".
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gateway.dialects.chat.fields import EFFORTS

DEVELOPER_ROLE = "role:developer"
CACHE_MARK = "cache_control"
REMOTE_IMAGES = "image_url:remote"
REASONING = ("reasoning", "reasoning_content")  # Providers use either name for the same text.


def marks_for(upstream_model: str, unsupported: list[str]) -> frozenset[str]:
    """Return the entries of `Provider.unsupported` that apply to one model, without their "@…"."""
    marks = (mark.partition("@") for mark in unsupported)
    return frozenset(name for name, _, models in marks if upstream_model.startswith(models))


def taken(given: dict[str, Any], unsupported: frozenset[str]) -> dict[str, Any]:
    """Return the fields of `given` that the provider accepts, in a form that it accepts."""
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
    """Replace the effort under `name`, if there is one, by one that the provider accepts."""
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
    """Return a copy of `body` in a form that the provider accepts.

    `body` itself stays unchanged, because other providers may get it too.
    """
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
    """Return the message without these members, its reasoning under the other name if possible."""
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
    # Go no deeper: a parameter of the function may have the same name as the mark.
    return _unmarked(tool, {"function": _unmarked})


def _unmarked_list(value: Any) -> Any:
    return [_unmarked(one) for one in value] if isinstance(value, list) else value


def _unmarked(value: Any, inner: Mapping[str, Callable] = MappingProxyType({})) -> Any:
    """Return an object without its cache mark. `inner` maps members to further changes."""
    if not isinstance(value, dict):
        return value
    kept = {name: member for name, member in value.items() if name != CACHE_MARK}
    return kept | {name: change(kept[name]) for name, change in inner.items() if name in kept}
