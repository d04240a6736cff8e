"""Custom tools, which take a text in a format of their own, translated to functions and back.

A model is offered a function with that text as its one argument, and a call of the function comes
back to the caller as a call of the custom tool. The function's description shows the model the
grammar of the text; nothing enforces it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.dialects.chat.answer import content_bytes, index_of, name_and_arguments, tool_calls
from gateway.wire.checks import object_of, one_of, text

_INPUT = "input"  # The argument that holds the text for the custom tool.

GRAMMAR = object_of(
    {"syntax": one_of("lark", "regex"), "definition": text(filled=True)},
    required=("syntax", "definition"),
)


def function_of(tool: dict, grammar: dict | None) -> dict:
    """Return the function that stands for a custom tool with this `name` and `description`."""
    described = [tool["description"]] if tool.get("description") else []
    if grammar is not None:
        described.append(
            f"`{_INPUT}` must be of this grammar ({grammar['syntax']}):\n{grammar['definition']}"
        )
    return {
        "name": tool["name"],
        **({"description": "\n\n".join(described)} if described else {}),
        "parameters": {
            "type": "object",
            "properties": {_INPUT: {"type": "string"}},
            "required": [_INPUT],
            "additionalProperties": False,
        },
    }


def arguments_of(text: str) -> str:
    """Return the arguments with which the function gets the text for the custom tool."""
    return orjson.dumps({_INPUT: text}).decode()


def input_in(arguments: str) -> str:
    """Return the text in such arguments, or all of them if the model wrote something else."""
    try:
        read = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    given = read.get(_INPUT, None if read else "") if isinstance(read, dict) else None
    return given if isinstance(given, str) else arguments


# --- Custom tools in a chat request, replaced by functions


def offer_functions(fields: dict) -> None:
    """Replace the custom tools in `tools` and `tool_choice` by functions."""
    tools = fields.get("tools") or ()
    if any(tool["type"] == "custom" for tool in tools):
        fields["tools"] = [_offered(tool) for tool in tools]
    choice = fields.get("tool_choice")
    if type(choice) is dict:
        fields["tool_choice"] = _choice(choice)


def _offered(tool: dict) -> dict:
    if tool["type"] != "custom":
        return tool
    kept = {name: member for name, member in tool.items() if name != "custom"}
    grammar = (tool["custom"].get("format") or {}).get("grammar")
    return {**kept, "type": "function", "function": function_of(tool["custom"], grammar)}


def _choice(choice: dict) -> dict:
    if choice["type"] != "allowed_tools":
        return _chosen(choice)
    allowed = choice["allowed_tools"]
    return {**choice, "allowed_tools": {**allowed, "tools": [*map(_chosen, allowed["tools"])]}}


def _chosen(one: dict) -> dict:
    return {"type": "function", "function": one["custom"]} if one["type"] == "custom" else one


def call_functions(messages: list[dict]) -> list[dict]:
    """Return the messages with calls of custom tools replaced by calls of functions."""
    return [_calling_functions(one) if one["role"] == "assistant" else one for one in messages]


def _calling_functions(message: dict) -> dict:
    calls = message.get("tool_calls") or ()
    if not any(call.get("type") == "custom" for call in calls):
        return message
    return {**message, "tool_calls": [_function_call(call) for call in calls]}


def _function_call(call: dict) -> dict:
    if call.get("type") != "custom":
        return call
    function = {"name": call["custom"]["name"], "arguments": arguments_of(call["custom"]["input"])}
    return {"id": call["id"], "type": "function", "function": function}


# --- Calls in a chat answer, turned back into calls of custom tools


def names_in(body: dict) -> frozenset[str]:
    """Return the names of the custom tools in a checked chat body."""
    tools = body.get("tools") or ()
    return frozenset(tool["custom"]["name"] for tool in tools if tool["type"] == "custom")


def calling(choice: dict, names: frozenset[str]) -> dict:
    """Return the choice of a whole answer, with calls of custom tools in their own form."""
    message = choice.get("message") or {}
    calls = tool_calls(message)
    if not calls:
        return choice
    return {
        **choice,
        "message": {**message, "tool_calls": [_custom_call(call, names) for call in calls]},
    }


def _custom_call(call: dict, names: frozenset[str]) -> dict:
    name, arguments = name_and_arguments(call)
    if name not in names:
        return call
    kept = {member: value for member, value in call.items() if member != "function"}
    return {**kept, "type": "custom", "custom": {"name": name, "input": input_in(arguments)}}


@dataclass(frozen=True, slots=True)
class _Call:
    id: Any
    name: str
    is_custom: bool
    fragments: list[dict] = field(default_factory=list)

    def deltas(self) -> list[dict]:
        if not self.is_custom:
            return self.fragments
        arguments = "".join(name_and_arguments(one)[1] for one in self.fragments)
        custom = {"name": self.name, "input": input_in(arguments)}
        place = index_of(self.fragments[0])
        return [{"index": place, "id": self.id, "type": "custom", "custom": custom}]


class HeldCalls:
    """The calls of custom tools in one stream, held back until each input is whole and readable.

    Calls that begin after a held one wait too, because OpenAI's package expects calls in the order
    of their indexes.
    """

    def __init__(self, names: frozenset[str]):
        self._names = names
        self._open: dict[tuple[int, int], _Call] = {}
        self._held: defaultdict[int, list[_Call]] = defaultdict(list)
        self._sizes: defaultdict[int, int] = defaultdict(int)

    def take(self, owner: int, fragments: list[dict]) -> list[dict]:
        """Hold the fragments of this answer's calls that have to wait, and return the others."""
        return [one for one in fragments if not self._is_held(owner, one)]

    def _is_held(self, owner: int, fragment: dict) -> bool:
        place = owner, index_of(fragment)
        name, _ = name_and_arguments(fragment)
        call = self._open.get(place)
        if name and call is None:
            call = self._begin(place, fragment.get("id"), name)
        if call is None:
            return False
        call.fragments.append(fragment)
        self._sizes[owner] += content_bytes({"tool_calls": [fragment]})
        return True

    def _begin(self, place: tuple[int, int], given_id: Any, name: str) -> _Call | None:
        held, is_custom = self._held[place[0]], name in self._names
        if not (held or is_custom):
            return None
        call = self._open[place] = _Call(given_id, name, is_custom)
        held.append(call)
        return call

    def release(self, owners: Iterable[int]) -> list[dict]:
        """Return the held calls of answers that have ended, each custom call in one piece."""
        choices = []
        for owner in owners:
            self._sizes.pop(owner, None)
            calls = [one for call in self._held.pop(owner, ()) for one in call.deltas()]
            if calls:
                delta = {"tool_calls": calls}
                choices.append({"index": owner, "delta": delta, "finish_reason": None})
        return choices

    @property
    def owners(self) -> list[int]:
        """The indexes of the answers that have held calls."""
        return list(self._held)

    @property
    def waiting(self) -> int:
        """The bytes of content in held calls."""
        return sum(self._sizes.values())
