"""OpenAI's shells and patches: functions to the model, items of their own to the caller."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.responses.caller_tools import CALLER_TOOLS
from gateway.dialects.responses.stream import ResponseStream
from gateway.errors import Unprocessable
from tests.support.gateway.openai_clients import client_of, upstream
from tests.support.gateway.responses_bodies import (
    TOOL,
    USER,
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
from tests.support.live import Customer
from tests.support.provider.scripts import either, tool_call_answer, tool_call_stream

TOOLS = [TOOL, {"type": "local_shell"}, {"type": "shell"}, {"type": "apply_patch"}]
REQUEST = body_with(tools=TOOLS)
PATCH = {"type": "update_file", "path": "a.py", "diff": "@@\n-a\n+☀"}
CALLS = [
    (
        "local_shell",
        {"command": ["ls", "-l"], "working_directory": "/"},
        {"action": {"type": "exec", "command": ["ls", "-l"], "env": {}, "working_directory": "/"}},
    ),
    (
        "local_shell",
        {"command": ["env"], "env": {"A": "1"}, "timeout_ms": 5, "user": "root"},
        {"action": {"type": "exec", "command": ["env"], "env": {"A": "1"}, "timeout_ms": 5}},
    ),
    (
        "shell",
        {"commands": ["ls", "pwd"], "timeout_ms": None, "max_output_length": 9},
        {"action": {"commands": ["ls", "pwd"], "max_output_length": 9}},
    ),
    ("apply_patch", PATCH, {"operation": PATCH}),
    (
        "apply_patch",
        {"type": "delete_file", "path": "a.py"},
        {"operation": {"type": "delete_file", "path": "a.py"}},
    ),
]
each_call = pytest.mark.parametrize(("kind", "arguments", "member"), CALLS)


def call(name: str, arguments: str, index: int = 0) -> dict:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"c{index}", "type": "function", "function": function}


def written(value) -> str:
    return orjson.dumps(value).decode()


# --- What the model is offered


def test_they_are_offered_as_functions():
    chat = translated(tools=TOOLS)
    assert [one["function"]["name"] for one in chat["tools"]] == [
        "search",
        "local_shell",
        "shell",
        "apply_patch",
    ]
    told = whole({"content": "Hi"}, request=REQUEST)["tools"]
    assert [one["type"] for one in told] == ["function", "local_shell", "shell", "apply_patch"]


@pytest.mark.parametrize("kind", CALLER_TOOLS)
def test_each_may_be_chosen(kind):
    choice = {"type": kind}
    named = {"type": "function", "function": {"name": kind}}
    assert translated(tools=TOOLS, tool_choice=choice)["tool_choice"] == named
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [choice]}
    (offered,) = translated(tools=TOOLS, tool_choice=allowed)["tools"]
    assert offered["function"] == CALLER_TOOLS[kind].function
    assert translated(tools=[choice], tool_choice="required")["tool_choice"] == "required"
    assert refusal(Unprocessable, tools=[TOOL], tool_choice=choice).param == "tool_choice"


@pytest.mark.parametrize(
    ("environment", "is_offered"),
    [
        (None, True),
        ({"type": "local"}, True),
        ({"type": "container_auto"}, False),
        ({"type": "container_reference", "container_id": "c"}, False),
    ],
)
def test_a_shell_in_a_container_is_not_the_callers(environment, is_offered):
    shell = {"type": "shell", "environment": environment}
    assert ("tools" in translated(tools=[shell])) is is_offered


# --- What it calls


@each_call
def test_a_call_is_told_as_the_item_that_the_caller_knows(kind, arguments, member):
    message = {"content": None, "tool_calls": [call(kind, written(arguments))]}
    made = whole(message, "tool_calls", REQUEST)
    assert made["output"] == [
        {
            "type": f"{kind}_call",
            "id": f"{CALLER_TOOLS[kind].prefix}_1_0",
            "call_id": "c0",
            "status": "completed",
            **member,
        }
    ]


@each_call
def test_a_streamed_call_is_told_once_it_is_whole(kind, arguments, member):
    text = written(arguments)
    pieces = [call(kind, text[:5]), {"index": 0, "function": {"arguments": text[5:]}}]
    events = stream_of(*({"tool_calls": [one]} for one in pieces), request=REQUEST)
    assert names_of(events)[2:] == ["output_item.added", "output_item.done", "completed"]
    message = {"content": None, "tool_calls": [call(kind, text)]}
    assert events[-1]["response"] == whole(message, request=REQUEST)
    check_items(events)
    assert read_by_the_package(events).output[0].type == f"{kind}_call"


@pytest.mark.parametrize("kind", CALLER_TOOLS)
@pytest.mark.parametrize(
    "arguments", ["", "{", "[]", "null", '{"command": "rm"}', '{"commands": [1]}', '{"type": "x"}']
)
def test_what_is_no_call_does_nothing(kind, arguments):
    tool = CALLER_TOOLS[kind]
    message = {"content": None, "tool_calls": [call(kind, arguments)]}
    (item,) = whole(message, "tool_calls", REQUEST)["output"]
    assert item[tool.member] == tool.nothing


@pytest.mark.parametrize("kind", CALLER_TOOLS)
def test_a_call_that_was_cut_off_does_nothing(kind):
    message = {"content": None, "tool_calls": [call(kind, written(PATCH))]}
    (item,) = whole(message, "length", REQUEST)["output"]
    assert item["status"] != "completed"
    assert item[CALLER_TOOLS[kind].member] == CALLER_TOOLS[kind].nothing


def test_what_waits_is_known():
    stream = ResponseStream(REQUEST)
    stream.start(id="chatcmpl-1", created=1, model="m")
    stream.feed({"choices": [{"delta": {"tool_calls": [call("shell", '{"ü')]}}]})
    assert stream.waiting == 4


@given(st.text())
def test_whatever_a_model_writes_can_be_read(arguments):
    for tool in CALLER_TOOLS.values():
        assert isinstance(tool.read(arguments), dict)


# --- What goes back


@each_call
def test_a_call_goes_back_as_the_model_wrote_it(kind, arguments, member):
    item = {"type": f"{kind}_call", "call_id": "c1", "status": "completed", **member}
    (_, said) = messages_of(USER, item)
    (sent,) = said["tool_calls"]
    assert (sent["id"], sent["function"]["name"]) == ("c1", kind)
    asked = orjson.loads(sent["function"]["arguments"])
    assert (
        asked.items()
        >= {
            name: told for name, told in arguments.items() if told is not None and name != "user"
        }.items()
    )


RAN = [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]


@pytest.mark.parametrize(
    ("kind", "output", "told"),
    [
        ("local_shell", {"id": "c1", "output": "a"}, "a"),
        ("local_shell", {"call_id": "c1", "output": "a"}, "a"),
        ("shell", {"call_id": "c1", "output": RAN}, written(RAN)),
        ("apply_patch", {"call_id": "c1", "status": "completed"}, "completed"),
        ("apply_patch", {"call_id": "c1", "status": "failed", "output": "No."}, "failed\nNo."),
    ],
)
def test_its_output_goes_back_as_text(kind, output, told):
    tool = CALLER_TOOLS[kind]
    item = {"type": f"{kind}_call", "call_id": "c1", tool.member: tool.nothing}
    reply = messages_of(USER, item, {"type": f"{kind}_call_output", **output})[2]
    assert reply == {"role": "tool", "tool_call_id": "c1", "content": told}


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "shell_call", "call_id": "c1"}, "input[1].action"),
        ({"type": "apply_patch_call", "operation": PATCH}, "input[1].call_id"),
        ({"type": "apply_patch_call_output", "call_id": "c1"}, "input[1].status"),
        ({"type": "shell_call_output", "call_id": "c1", "output": 5}, "input[1].output"),
    ],
)
def test_an_item_that_lacks_something_is_refused(item, param):
    assert refusal(input=[USER, item]).param == param


def test_an_output_without_its_call_is_refused():
    item = {"type": "local_shell_call_output", "id": "c9", "output": "a"}
    assert refusal(Unprocessable, input=[USER, item]).param == "input[1].call_id"


# --- Over HTTP


@pytest.fixture
def customer(committed, scripted, patient_gateway):
    return Customer(patient_gateway)


def test_the_package_reads_a_shells_call(customer, fake):
    calls = [("shell", written({"commands": ["ls"]}))]
    token = fake.script(either(tool_call_stream(calls), tool_call_answer(calls)))
    asked = {"model": "scripted", "input": token, "tools": [{"type": "shell"}]}
    with client_of(customer) as client:
        (item,) = client.responses.create(**asked).output
        assert (item.type, item.action.commands) == ("shell_call", ["ls"])
        assert upstream(fake, token)["tools"][0]["function"]["name"] == "shell"
        with client.responses.stream(**asked) as events:
            (streamed,) = events.get_final_response().output
    assert streamed.action == item.action
