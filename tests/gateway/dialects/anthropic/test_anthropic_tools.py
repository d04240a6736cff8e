"""Anthropic's tools that the caller runs are functions to the model; what ran at Anthropic in an
earlier conversation is passed over.
"""

import typing

import jsonschema
import pytest
from anthropic import types
from anthropic.types import beta

from gateway.dialects.anthropic.tools import CLIENT_TOOLS
from tests.support.gateway.anthropic_answers import call, message_with
from tests.support.gateway.anthropic_bodies import (
    CACHED,
    CALL,
    CALLING,
    CHAT_CALLING,
    HELLO,
    assistant,
    chat_messages,
    chat_with,
    result,
    text,
    user,
)

BASH = {"type": "bash_20250124", "name": "bash"}
EDITOR = {
    "type": "text_editor_20250728",
    "name": "str_replace_based_edit_tool",
    "max_characters": 10_000,
}
OF_THE_PACKAGE = {
    "bash_20241022": beta.BetaToolBash20241022Param,
    "bash_20250124": types.ToolBash20250124Param,
    "text_editor_20241022": beta.BetaToolTextEditor20241022Param,
    "text_editor_20250124": types.ToolTextEditor20250124Param,
    "text_editor_20250429": types.ToolTextEditor20250429Param,
    "text_editor_20250728": types.ToolTextEditor20250728Param,
    "memory_20250818": types.MemoryTool20250818Param,
}


@pytest.mark.parametrize("kind", CLIENT_TOOLS)
def test_a_tool_has_the_name_that_the_package_has_for_it(kind):
    hints = typing.get_type_hints(OF_THE_PACKAGE[kind])
    assert typing.get_args(hints["name"]) == (CLIENT_TOOLS[kind].name,)
    assert typing.get_args(hints["type"]) == (kind,)
    jsonschema.Draft202012Validator.check_schema(CLIENT_TOOLS[kind].parameters)


def test_every_command_of_memory_is_offered_with_what_it_needs():
    parameters = CLIENT_TOOLS["memory_20250818"].parameters
    commands = typing.get_args(typing.get_args(beta.BetaMemoryTool20250818Command)[0])
    inputs = {name for command in commands for name in command.model_fields}
    assert inputs == parameters["properties"].keys()
    names = [typing.get_args(one.model_fields["command"].annotation)[0] for one in commands]
    assert sorted(parameters["properties"]["command"]["enum"]) == sorted(names)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("bash_20250124", {"command": "ls"}),
        ("bash_20250124", {"restart": True}),
        ("text_editor_20250728", {"command": "view", "path": "/", "view_range": [1, -1]}),
        (
            "text_editor_20250728",
            {"command": "insert", "path": "a", "insert_line": 0, "insert_text": "b"},
        ),
        (
            "text_editor_20250124",
            {"command": "insert", "path": "a", "insert_line": 0, "new_str": "b"},
        ),
        ("text_editor_20241022", {"command": "undo_edit", "path": "a"}),
        ("memory_20250818", {"command": "rename", "old_path": "a", "new_path": "b"}),
    ],
)
def test_what_anthropic_documents_can_be_called(kind, given):
    jsonschema.validate(given, CLIENT_TOOLS[kind].parameters)
    properties = CLIENT_TOOLS[kind].parameters["properties"]
    assert given.keys() <= properties.keys()


def test_they_are_offered_beside_the_callers_own():
    own = {"name": "search", "input_schema": {"type": "object"}}
    choice = {"type": "tool", "name": "bash"}
    chat = chat_with(tools=[own, {**BASH, **CACHED}, EDITOR], tool_choice=choice)
    names = [tool["function"]["name"] for tool in chat["tools"]]
    assert names == ["search", "bash", "str_replace_based_edit_tool"]
    assert chat["tools"][1]["cache_control"] == CACHED["cache_control"]
    assert chat["tools"][1]["function"]["parameters"]["properties"].keys() == {"command", "restart"}
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "bash"}}


def test_their_calls_come_back_under_their_names():
    made = message_with("tool_calls", tool_calls=[call("bash", '{"command": "ls"}')])
    (block,) = made["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "bash", {"command": "ls"})


# --- What ran at Anthropic

SEARCHED = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}


@pytest.mark.parametrize(
    "hosted",
    [
        SEARCHED,
        FOUND,
        {"type": "mcp_tool_use", "id": "m1", "name": "find", "server_name": "x", "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": "m1", "content": "x", "is_error": False},
        {"type": "code_execution_tool_result", "tool_use_id": "s2", "content": {}},
    ],
)
def test_what_ran_at_anthropic_is_passed_over(hosted):
    said = assistant(text("I look. "), hosted, text("Found."))
    assert chat_messages(HELLO, said, HELLO)[1] == {
        "role": "assistant",
        "content": "I look. Found.",
    }
    told = chat_messages(HELLO, assistant(hosted, CALL), user(result("r")))
    assert told[1] == CHAT_CALLING == chat_messages(HELLO, CALLING, user(result("r")))[1]


def test_an_answer_of_nothing_else_leaves_nothing():
    told = chat_messages(HELLO, assistant(SEARCHED, FOUND), {"role": "user", "content": "Go on"})
    assert told == [{"role": "user", "content": "Hello\n\nGo on"}]


def test_a_compacted_conversation_is_told_by_its_summary():
    said = assistant({"type": "compaction", "content": "We met."}, text(" Hi"))
    assert chat_messages(HELLO, said)[1] == {"role": "assistant", "content": "We met. Hi"}
