"""The tools of a Responses request as chat functions, and the tool that each function stands for.

    function   passes as it is
    custom     takes text: `custom_tools` makes a function of it
    namespace  holds tools: each becomes a function whose name begins with the namespace's name
    shell, local_shell, apply_patch
               run at the caller: `caller_tools` describes a function for each

Kyma runs no tools. Tools of other kinds (web search, MCP servers that Kyma would have to ask, a
shell in a container) are left out, and the response's `tools` lack them. If the request demands a
tool call, Kyma refuses them instead.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.dialects.chat.custom_tools import GRAMMAR, function_of
from gateway.dialects.chat.fields import FUNCTION, MAX_NAME, MAX_TOOLS, NAME
from gateway.dialects.responses.caller_tools import CALLER_TOOLS, CallerTool
from gateway.wire.checks import (
    Check,
    Mismatch,
    list_of,
    missing,
    object_of,
    one_of,
    schema_of,
    tagged,
    takes,
    text,
    unwanted,
)

_MEMBERS = {
    "function": ("name", "description", "parameters", "strict"),
    "custom": ("name", "description", "format"),
}


_KINDS = (*_MEMBERS, "namespace")
_kind = one_of(*_KINDS)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a model is offered; `function` is its description in chat."""

    kind: str
    name: str
    namespace: str | None
    function: dict

    @property
    def of_caller(self) -> CallerTool | None:
        return CALLER_TOOLS.get(self.kind)


# --- Checks

_custom = object_of(
    {
        "name": NAME,
        "description": text(),
        "format": tagged("type", {"text": object_of({}), "grammar": GRAMMAR}),
    },
    required=("name",),
)
_by_caller = tagged("type", {"function": FUNCTION, "custom": _custom})
_members_of_namespace = object_of(
    {"name": NAME, "description": text(), "tools": list_of(_by_caller, most=MAX_TOOLS)},
    required=("name", "tools"),
)


@takes(schema_of(_members_of_namespace))
def _namespace(value: dict) -> None:
    _members_of_namespace(value)
    for index, tool in enumerate(value["tools"]):
        try:
            NAME(function_name(tool["name"], value["name"]))
        except Mismatch:
            raise (
                Mismatch(
                    "is too long: together with the name of its namespace it may have at most "
                    f"{MAX_NAME} characters"
                )
                .under("name")
                .under(index)
                .under("tools")
            ) from None


_taken = tagged("type", {"function": FUNCTION, "custom": _custom, "namespace": _namespace})


@takes(schema_of(_taken))
def _tool(value: Any) -> None:
    if type(value) is not dict:
        raise unwanted('an object such as {"type": "function", "name": "…"}', value)
    kind = value.get("type")
    if kind is None:
        raise missing(_kind).under("type")
    if type(kind) is str and kind.strip() and kind not in _KINDS:
        return  # Kyma leaves out tools of kinds that it doesn't know; agents offer many.
    _taken(value)


tools: Check = list_of(_tool, most=MAX_TOOLS)


def check_all_are_offered(given: Iterable[dict]) -> None:
    """Refuse tools that Kyma would leave out of a request that demands a tool call.

    With fewer tools, the demand would mean something else.
    """
    for index, tool in enumerate(given):
        if tool["type"] not in _KINDS and not _runs_at_callers(tool):
            mismatch = Mismatch(
                "must be function, custom, namespace or a tool that you run, because `tool_choice` "
                "is required: Kyma runs no tools of its own, so leave this one out or set "
                "`tool_choice` to auto"
            )
            raise mismatch.under("type").under(index).under("tools").as_error()


def _runs_at_callers(tool: dict) -> bool:
    """True when the tool is in CALLER_TOOLS and isn't a shell in one of OpenAI's containers."""
    environment = tool.get("environment")
    place = environment.get("type") if type(environment) is dict else "local"
    return tool["type"] in CALLER_TOOLS and place == "local"


# --- The tools as a model sees them


def function_name(name: str, namespace: str | None) -> str:
    if not namespace:
        return name
    return f"{namespace}{name}" if namespace.endswith("_") else f"{namespace}__{name}"


def offered(given: Iterable[dict] | None) -> list[Tool]:
    """Return the tools that the caller runs; a model is offered only these."""
    found = []
    for tool in given or ():
        if tool["type"] == "namespace":
            found += [_offer(inner, tool["name"]) for inner in tool["tools"]]
        elif tool["type"] in _MEMBERS:
            found.append(_offer(tool, None))
        elif _runs_at_callers(tool):
            kind = tool["type"]
            found.append(Tool(kind, kind, None, CALLER_TOOLS[kind].function))
    return found


def by_function(given: Iterable[dict] | None) -> dict[str, Tool]:
    return {tool.function["name"]: tool for tool in offered(given)}


def _offer(tool: dict, namespace: str | None) -> Tool:
    function = {name: tool[name] for name in _MEMBERS["function"] if tool.get(name) is not None}
    function["name"] = function_name(tool["name"], namespace)
    if tool["type"] == "custom":
        form = tool.get("format") or {"type": "text"}
        function = function_of(function, form if form["type"] == "grammar" else None)
    return Tool(tool["type"], tool["name"], namespace, function)


def echo(given: Iterable[dict] | None) -> list[dict]:
    """Return the tools that a response lists as offered to the model."""
    echoed: list[dict] = []
    for tool in given or ():
        if tool["type"] == "namespace":
            inner = [_echoed(one) for one in tool["tools"]]
            echoed.append(
                {
                    "type": "namespace",
                    "name": tool["name"],
                    "description": tool.get("description") or "",
                    "tools": inner,
                }
            )
        elif tool["type"] in _MEMBERS:
            echoed.append(_echoed(tool))
        elif _runs_at_callers(tool):
            echoed.append({"type": tool["type"]})
    return echoed


def _echoed(tool: dict) -> dict:
    echoed = {"type": tool["type"], **{name: tool.get(name) for name in _MEMBERS[tool["type"]]}}
    if tool["type"] == "custom":
        echoed["format"] = echoed["format"] or {"type": "text"}
    return echoed
