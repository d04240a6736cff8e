"""OpenAI's tools that the caller runs: shells and patches.

A model is offered a function for each, and a call of the function becomes the item that the caller
knows. Invalid arguments become an item that does nothing, because no caller should run a guess at
what the model meant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.wire.checks import (
    Check,
    Mismatch,
    by_type,
    integer,
    list_of,
    mapping_of,
    object_of,
    one_of,
    tagged,
    text,
)
from gateway.wire.schema import INTEGER, TEXT, Schema, array, choice

_LONGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class CallerTool:
    """How one of these tools becomes a function, and calls of the function become items.

    `member` of a call's item holds the action. Arguments that fail `check` become the action
    `nothing`. `fixed` holds members of the action that a model may leave out.
    """

    prefix: str
    function: dict
    member: str
    check: Check
    nothing: dict
    fixed: dict
    called: Callable[[dict], str]  # Returns a call's output as the model reads it.
    cut_off: str = "incomplete"

    def read(self, arguments: str) -> dict:
        """Return the action that `arguments` ask for, or `nothing` if they fail the check."""
        try:
            asked = orjson.loads(arguments)
            self.check(asked)
        except (orjson.JSONDecodeError, Mismatch):
            return self.nothing
        known = {name: asked[name] for name in self._names if asked.get(name) is not None}
        return {**self.fixed, **known}

    def arguments(self, call: dict) -> str:
        """Return the arguments from which `read` made the action of this call."""
        asked = call[self.member]
        return orjson.dumps(
            {name: asked[name] for name in self._names if asked.get(name) is not None}
        ).decode()

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.function["parameters"]["properties"])


def _function(name: str, description: str, required: str, **inputs: Schema) -> dict:
    parameters = {"type": "object", "properties": inputs, "required": required.split()}
    return {"name": name, "description": description, "parameters": parameters}


def _as_json(output: dict) -> str:
    given = output["output"]
    return given if isinstance(given, str) else orjson.dumps(given).decode()


def _status_and_output(output: dict) -> str:
    return "\n".join(filter(None, [output.get("status"), output.get("output")]))


_words = list_of(text(), filled=True)
_TIMEOUT = {**INTEGER, "description": "Milliseconds after which it is stopped."}
_duration = integer(0, _LONGEST)
_PATCH = (
    "What changes, in lines that each begin with a space (as it is, three before and after "
    "a change), - (goes) or + (comes); @@ with a line of the file finds a place. Of a new file "
    "every line begins with +. Not with delete_file."
)
_path = object_of({"path": text(filled=True)}, required=("path",))
_patched = object_of({"path": text(filled=True), "diff": text()}, required=("path", "diff"))

CALLER_TOOLS = {
    "local_shell": CallerTool(
        prefix="lsh",
        function=_function(
            "local_shell",
            "Runs a command on the user's machine, and tells what it wrote.",
            "command",
            command={**array(TEXT), "description": "The program and its arguments."},
            working_directory=TEXT,
            env={"type": "object", "additionalProperties": TEXT},
            timeout_ms=_TIMEOUT,
        ),
        member="action",
        check=object_of(
            {
                "command": _words,
                "working_directory": text(),
                "env": mapping_of(text()),
                "timeout_ms": _duration,
            },
            required=("command",),
        ),
        nothing={"type": "exec", "command": [], "env": {}},
        fixed={"type": "exec", "env": {}},
        called=_as_json,
    ),
    "shell": CallerTool(
        prefix="sh",
        function=_function(
            "shell",
            "Runs commands in a shell on the user's machine, and tells what each wrote.",
            "commands",
            commands={**array(TEXT), "description": "Lines for the shell, each run by itself."},
            timeout_ms=_TIMEOUT,
            max_output_length={**INTEGER, "description": "Characters to tell of each output."},
        ),
        member="action",
        check=object_of(
            {"commands": _words, "timeout_ms": _duration, "max_output_length": _duration},
            required=("commands",),
        ),
        nothing={"commands": []},
        fixed={},
        called=_as_json,
    ),
    "apply_patch": CallerTool(
        prefix="apc",
        function=_function(
            "apply_patch",
            "Creates, changes or deletes one file.",
            "type path",
            type=choice("create_file", "update_file", "delete_file"),
            path=TEXT,
            diff={**TEXT, "description": _PATCH},
        ),
        member="operation",
        check=tagged(
            "type", {"create_file": _patched, "update_file": _patched, "delete_file": _path}
        ),
        nothing={"type": "update_file", "path": "", "diff": ""},
        fixed={},
        called=_status_and_output,
        cut_off="in_progress",  # OpenAI's item has no status "incomplete".
    ),
}


def calls_of(kind: str) -> Check:
    """Return the check of a call's item that a caller sends back."""
    tool = CALLER_TOOLS[kind]
    return object_of(
        {"call_id": text(filled=True), tool.member: object_of({})},
        required=("call_id", tool.member),
    )


def outputs_of(kind: str) -> Check:
    """Return the check of an output's item. For a local shell, `id` may name the call."""
    outputs: dict[type, Check] = {str: text(), list: list_of(object_of({}))}
    output = by_type("a string or a list of outputs", outputs) if kind == "shell" else text()
    named = text(filled=True)
    members: dict[str, Check] = {"call_id": named, "output": output}
    if kind == "apply_patch":
        members["status"] = one_of("completed", "failed")
        return object_of(members, required=("call_id", "status"))
    if kind == "local_shell":
        return object_of({**members, "id": named}, required=("output",))
    return object_of(members, required=("call_id", "output"))


def answered_call(item: dict) -> Any:
    """Return the id of the call that an output's item answers."""
    return item.get("call_id") or item.get("id")
