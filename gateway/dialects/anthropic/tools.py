"""Anthropic's tools that the caller runs, described for models other than Claude.

Claude knows these tools. Other models are offered functions with these names and descriptions, so
that they call a tool with the inputs that callers expect.

Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use, the page of each tool.
"""

from dataclasses import dataclass

from gateway.wire.schema import BOOLEAN, INTEGER, TEXT, Schema, array, choice


@dataclass(frozen=True, slots=True)
class ClientTool:
    name: str
    description: str
    parameters: Schema


def _input(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


_BASH = ClientTool(
    "bash",
    "Runs commands in a bash session, which keeps its state from one call to the next.",
    {
        "type": "object",
        "properties": {
            "command": _input(TEXT, "The command to run. Required unless `restart` is true."),
            "restart": _input(BOOLEAN, "True to begin a new session."),
        },
    },
)

_PATH = _input(TEXT, "The file or directory.")
_EDITING: dict[str, Schema] = {
    "file_text": _input(TEXT, "With `create`: the content of the new file."),
    "old_str": _input(TEXT, "With `str_replace`: the text to replace. It must stand there once."),
    "insert_line": _input(
        INTEGER, "With `insert`: the line after which the text goes; 0 is first."
    ),
    "view_range": _input(
        array(INTEGER),
        "With `view` of a file: the first and the last line, counted from 1; -1 is the end.",
    ),
}
_NEW = "With `str_replace`: what replaces it"
_EDITS = "Views and edits files: `command` says how, and which of the other inputs it needs."


def _commanded(commands: tuple[str, ...], *required: str, **inputs: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"command": choice(*commands), **inputs},
        "required": ["command", *required],
    }


_COMMANDS = ("view", "create", "str_replace", "insert")
_NEW_TEXT = {
    "new_str": _input(TEXT, f"{_NEW}."),
    "insert_text": _input(TEXT, "With `insert`: the text to insert."),
}
_EDITOR = ClientTool(
    "str_replace_based_edit_tool",
    _EDITS,
    _commanded(_COMMANDS, "path", path=_PATH, **_EDITING, **_NEW_TEXT),
)
_OLDER_EDITOR = ClientTool(
    "str_replace_editor",
    f"{_EDITS} `undo_edit` takes back the last edit of a file.",
    _commanded(
        (*_COMMANDS, "undo_edit"),
        "path",
        path=_PATH,
        **_EDITING,
        new_str=_input(TEXT, f"{_NEW}. With `insert`: the text to insert."),
    ),
)
_MEMORY = ClientTool(
    "memory",
    "Keeps files in the directory /memories from one conversation to the next: view it before "
    f"anything else, and note there what will be needed later. {_EDITS}",
    _commanded(
        (*_COMMANDS, "delete", "rename"),
        path=_input(TEXT, "The file or directory, below /memories; not with `rename`."),
        **_EDITING,
        **_NEW_TEXT,
        old_path=_input(TEXT, "With `rename`: the name so far."),
        new_path=_input(TEXT, "With `rename`: the new name."),
    ),
)

CLIENT_TOOLS = {
    "bash_20241022": _BASH,
    "bash_20250124": _BASH,
    "text_editor_20241022": _OLDER_EDITOR,
    "text_editor_20250124": _OLDER_EDITOR,
    "text_editor_20250429": _EDITOR,
    "text_editor_20250728": _EDITOR,
    "memory_20250818": _MEMORY,
}
