"""Custom tools and those of a namespace: functions to the model, themselves to the caller."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.chat.custom_tools import arguments_of, input_in
from gateway.dialects.responses.stream import ResponseStream
from tests.support.gateway.openai_clients import client_of, upstream
from tests.support.gateway.responses_bodies import (
    TOOL,
    body_with,
    check_items,
    messages_of,
    names_of,
    read_by_the_package,
    refusal,
    stream_of,
    translated,
    whole,
)
from tests.support.gateway.responses_clients import ask, check_price, events_of
from tests.support.gateway.tools_of_agents import CRM, FREE, PATCH
from tests.support.live import Customer
from tests.support.provider.scripts import answer, either, tool_call_answer, tool_call_stream

TOOLS = [TOOL, PATCH, FREE, CRM]
TEXT = '*** Begin Patch\n"ß" \\ ☀'
ARGUMENTS = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
REQUEST = body_with(tools=TOOLS)


def call(name: str, arguments: str, index: int = 0) -> dict:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"c{index}", "type": "function", "function": function}


# --- What the model is offered


def test_a_custom_tool_is_a_function_with_one_text():
    patch, note = (one["function"] for one in translated(tools=[PATCH, FREE])["tools"])
    assert patch == {
        "name": "apply_patch",
        "description": "Changes files.\n\n`input` must be of this grammar (lark):\n"
        'start: "*** Begin"',
        "parameters": ARGUMENTS,
    }
    assert note == {"name": "note", "parameters": ARGUMENTS}


def test_the_tools_of_a_namespace_carry_its_name():
    find, sql = (one["function"] for one in translated(tools=[CRM])["tools"])
    assert find == {"name": "mcp__crm__find", "parameters": {"type": "object"}, "strict": False}
    assert sql == {"name": "mcp__crm__sql", "description": "Asks.", "parameters": ARGUMENTS}
    plain = translated(tools=[{**CRM, "name": "crm"}])["tools"]
    assert plain[0]["function"]["name"] == "crm__find"


@pytest.mark.parametrize(
    ("choice", "function"),
    [
        ({"type": "custom", "name": "note"}, "note"),
        ({"type": "function", "name": "find", "namespace": "mcp__crm__"}, "mcp__crm__find"),
    ],
)
def test_such_a_tool_may_be_chosen(choice, function):
    chosen = translated(tools=TOOLS, tool_choice=choice)
    assert chosen["tool_choice"] == {"type": "function", "function": {"name": function}}
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [choice]}
    chosen = translated(tools=TOOLS, tool_choice=allowed)
    assert [one["function"]["name"] for one in chosen["tools"]] == [function]
    assert translated(tools=TOOLS, tool_choice="required")["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({**PATCH, "name": "a b"}, "tools[0].name"),
        ({"type": "custom"}, "tools[0].name"),
        ({**PATCH, "format": {"type": "xml"}}, "tools[0].format.type"),
        ({**PATCH, "format": {"type": "grammar", "syntax": "lark"}}, "tools[0].format.definition"),
        ({**CRM, "tools": [{"type": "mcp"}]}, "tools[0].tools[0].type"),
        ({**CRM, "name": "n" * 124}, "tools[0].tools[0].name"),
        ({"type": "namespace", "name": "crm"}, "tools[0].tools"),
    ],
)
def test_a_tool_that_can_not_be_offered_is_refused_by_its_name(tool, param):
    assert refusal(tools=[tool]).param == param


# --- What it calls


def test_calls_and_their_results_go_back_as_the_model_knows_them():
    items = [
        {"type": "custom_tool_call", "call_id": "c0", "name": "apply_patch", "input": TEXT},
        {
            "type": "function_call",
            "call_id": "c1",
            "namespace": "mcp__crm__",
            "name": "find",
            "arguments": "{}",
        },
        {"type": "custom_tool_call_output", "call_id": "c0", "output": "Done."},
        {"type": "function_call_output", "call_id": "c1", "output": "Nobody."},
    ]
    said, patched, found = messages_of(*items)
    made = [(one["function"]["name"], one["function"]["arguments"]) for one in said["tool_calls"]]
    assert made == [
        ("apply_patch", orjson.dumps({"input": TEXT}).decode()),
        ("mcp__crm__find", "{}"),
    ]
    assert (patched["tool_call_id"], patched["content"]) == ("c0", "Done.")
    assert (found["tool_call_id"], found["content"]) == ("c1", "Nobody.")


@given(st.text())
def test_a_text_comes_back_as_it_was(text):
    assert input_in(arguments_of(text)) == text


@pytest.mark.parametrize("arguments", ["", "*** Begin", '{"input": "cut', "5", '{"input": 5}'])
def test_what_is_no_such_argument_is_told_as_it_is(arguments):
    assert input_in(arguments) == arguments


CALLS = [
    call("apply_patch", arguments_of(TEXT), 0),
    call("search", '{"q":"x"}', 1),
    call("mcp__crm__find", "{}", 2),
    call("mcp__crm__sql", arguments_of("SELECT 1"), 3),
]


def test_a_streamed_call_is_told_as_the_package_expects():
    first = {
        "tool_calls": [{**one, "function": {"name": one["function"]["name"]}} for one in CALLS]
    }
    rest = [
        {"tool_calls": [{"index": one["index"], "function": {"arguments": piece}}]}
        for one in CALLS
        for piece in one["function"]["arguments"]
    ]
    events = stream_of(first, *rest, finish="tool_calls", request=REQUEST)
    check_items(events)
    output = events[-1]["response"]["output"]
    assert [
        (one["type"], one.get("namespace"), one["name"], one.get("input", one.get("arguments")))
        for one in output
    ] == [
        ("custom_tool_call", None, "apply_patch", TEXT),
        ("function_call", None, "search", '{"q":"x"}'),
        ("function_call", "mcp__crm__", "find", "{}"),
        ("custom_tool_call", "mcp__crm__", "sql", "SELECT 1"),
    ]
    assert names_of(events).count("custom_tool_call_input.done") == 2
    assert whole({"tool_calls": CALLS}, "tool_calls", REQUEST)["output"] == output
    assert read_by_the_package(events).output[0].input == TEXT


def test_a_response_tells_which_tools_were_offered():
    told = whole({"content": "Hi"}, request=body_with(tools=[*TOOLS, {"type": "web_search"}]))
    assert [(one["type"], one["name"]) for one in told["tools"]] == [
        ("function", "search"),
        ("custom", "apply_patch"),
        ("custom", "note"),
        ("namespace", "mcp__crm__"),
    ]
    assert told["tools"][2]["format"] == {"type": "text"}


def test_what_is_not_told_yet_counts_as_waiting():
    stream = ResponseStream(REQUEST)
    stream.start(id="chatcmpl-1", created=1, model="m")
    arguments = arguments_of(TEXT)
    told = stream.feed({"choices": [{"delta": {"tool_calls": [call("apply_patch", arguments)]}}]})
    assert b"Begin" not in told
    assert stream.waiting == len(arguments.encode())
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    assert b"custom_tool_call_input.done" in stream.finish(usage)
    assert stream.waiting == 0


# --- Over HTTP


@pytest.mark.parametrize("streamed", [False, True])
def test_codex_gets_its_patch(customer: Customer, fake, streamed):
    made = [("apply_patch", {"input": TEXT})]
    script = either(tool_call_stream(made, fragment=3), tool_call_answer(made))
    token = fake.script(script)
    with client_of(customer) as client:
        if streamed:
            events = events_of(client, token, tools=TOOLS)
            item = events[-1]["response"]["output"][0]
        else:
            done = ask(client, token, tools=TOOLS)
            check_price(customer, done)
            item = done.output[0].model_dump()
        assert (item["type"], item["input"]) == ("custom_tool_call", TEXT)
        names = [one["function"]["name"] for one in upstream(fake, token)["tools"]]
        assert names == ["search", "apply_patch", "note", "mcp__crm__find", "mcp__crm__sql"]
        followed = fake.script(answer("Done."))
        result = {"type": "custom_tool_call_output", "call_id": item["call_id"], "output": "ok"}
        given = [{"role": "user", "content": followed}, item, result]
        done = client.responses.create(model="scripted", input=given, tools=TOOLS)
        assert done.output_text == "Done."
    assert upstream(fake, followed)["messages"][-1]["content"] == "ok"
