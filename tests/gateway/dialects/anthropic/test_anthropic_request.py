"""A Messages request becomes a chat request that Kyma accepts."""

import orjson
import pytest
from anthropic.types import MessageParam
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.dialects.anthropic.api import chat_body, message
from gateway.dialects.anthropic.fields import CHECKS
from tests.support.gateway.anthropic_bodies import (
    CACHED,
    CALL,
    CALLING,
    CHAT_CALL,
    CHAT_CALLING,
    DOCUMENT,
    FORMAT,
    HELLO,
    IMAGE,
    LABEL,
    MARK,
    PIXEL,
    SCHEMA,
    SEARCH_RESULT,
    TOOL,
    USAGE,
    assistant,
    body_with,
    chat_messages,
    chat_with,
    new_in,
    result,
    text,
    user,
)

# --- Messages ------------------------------------------------------------------------------------


def test_a_small_request_stays_small():
    assert chat_body(body_with()) == {"model": "best", "max_tokens": 50, "messages": [HELLO]}


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (None, []),
        ("", []),
        ([], []),
        ("Be brief.", ["Be brief."]),
        ([text("Be brief.")], ["Be brief."]),
        ([text("a"), text("b")], [[text("a"), text("b")]]),
        ([text("a", **CACHED)], [[text("a", **CACHED)]]),
        ([text("a", **CACHED), text("b")], [[text("a", **CACHED), text("b")]]),
    ],
)
def test_system_comes_first_and_keeps_its_order(system, expected):
    messages = chat_with(system=system)["messages"]
    assert messages == [*({"role": "system", "content": one} for one in expected), HELLO]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ""),
        ("a", "a"),
        ([text("a")], "a"),
        ([text("a"), text("b")], [text("a"), text("b")]),
        ([text("a", citations=None, **CACHED)], [text("a", **CACHED)]),
        ([IMAGE], [PIXEL]),
        ([text("a"), {**IMAGE, **CACHED}], [text("a"), {**PIXEL, **CACHED}]),
        (
            [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}],
            [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}],
        ),
    ],
)
def test_what_a_user_says(content, expected):
    assert chat_messages({"role": "user", "content": content}) == [
        {"role": "user", "content": expected}
    ]


LAWN = (
    "<document>\n<title>Lawn</title>\n<context>From a diary.</context>\n"
    "The grass is green.\n</document>\n"
)
SKY = (
    "<search_result>\n<title>Sky</title>\n<source>https://example.org/sky</source>\n"
    "The sky\nis blue.\n</search_result>\n"
)


def document(content, **members) -> dict:
    return {"type": "document", "source": {"type": "content", "content": content}, **members}


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([DOCUMENT], LAWN),
        ([SEARCH_RESULT], SKY),
        ([document("a")], "<document>\na\n</document>\n"),
        ([document("a", title="", context=None)], "<document>\na\n</document>\n"),
        ([document([text("a"), text("b")])], "<document>\na\nb\n</document>\n"),
        (
            [{**DOCUMENT, **CACHED, "citations": {"enabled": False}}, text("So?")],
            [text(LAWN, **CACHED), text("So?")],
        ),
        (
            [{**SEARCH_RESULT, **CACHED, "citations": {}}, text("So?")],
            [text(SKY, **CACHED), text("So?")],
        ),
        (
            [document([text("a"), IMAGE, text("b")], title="Lawn")],
            [
                text("<document>\n<title>Lawn</title>\na\n"),
                PIXEL,
                text("b\n</document>\n"),
            ],
        ),
        (
            [document([text("a"), text("b", **CACHED), text("c"), text("d")])],
            [text("<document>\na\nb\n", **CACHED), text("c\nd\n</document>\n")],
        ),
    ],
)
def test_documents_and_search_results_are_text_in_tags(blocks, expected):
    assert chat_messages(user(*blocks)) == [{"role": "user", "content": expected}]


def test_a_tool_may_give_documents_and_search_results():
    given = [text("a"), DOCUMENT, {**SEARCH_RESULT, **CACHED}, document([IMAGE])]
    reply, images = chat_messages(HELLO, CALLING, user(result(given)))[2:]
    label = f"<document>\n\n{LABEL['text']}\n</document>\n"
    assert reply["content"] == [text(f"a\n{LAWN}\n{SKY}\n{label}", **CACHED)]
    assert images == {"role": "user", "content": [LABEL, PIXEL]}


def test_a_tool_may_have_as_long_a_name_as_at_anthropic():
    tool = {"name": f"mcp__plugin_{'x' * 116}", "input_schema": {}}
    choice = {"type": "tool", "name": tool["name"]}
    chat = chat_with(tools=[tool], tool_choice=choice)
    assert chat["tools"][0]["function"]["name"] == tool["name"]
    assert chat["tool_choice"]["function"]["name"] == tool["name"]


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([text("a")], {"content": "a"}),
        ([text("a"), text("b")], {"content": "ab"}),
        ([text("a"), text("b", **CACHED)], {"content": [text("a"), text("b", **CACHED)]}),
        ([CALL], {"content": None, "tool_calls": [CHAT_CALL]}),
        ([text("a"), CALL], {"content": "a", "tool_calls": [CHAT_CALL]}),
        (
            [{"type": "thinking", "thinking": "hm", "signature": "s"}, text("a")],
            {"content": "a", "reasoning_content": "hm"},
        ),
        (
            [{"type": "thinking", "thinking": "a"}, CALL, {"type": "thinking", "thinking": "b"}],
            {"content": None, "tool_calls": [CHAT_CALL], "reasoning_content": "a\n\nb"},
        ),
        (
            [{"type": "redacted_thinking", "data": "xyz"}, text("a")],
            {
                "content": "a",
                "reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz"}],
            },
        ),
        ([{"type": "thinking", "thinking": "hm"}], {"content": "", "reasoning_content": "hm"}),
    ],
)
def test_what_an_assistant_said(blocks, expected):
    assert chat_messages(HELLO, assistant(*blocks))[1] == {"role": "assistant", **expected}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (result("found"), "found"),
        (result(), ""),
        (result([]), ""),
        (result([text("a"), text("b")]), "a\nb"),
        (result("no such file", is_error=True), "Error: no such file"),
        (result(is_error=True), "Error"),
        (result("found", is_error=False), "found"),
        (result("found", **CACHED), [text("found", **CACHED)]),
        (result([text("a"), text("b", **CACHED)]), [text("a\nb", **CACHED)]),
    ],
)
def test_what_a_tool_gave(block, expected):
    reply = {"role": "tool", "tool_call_id": "t1", "content": expected}
    assert chat_messages(HELLO, CALLING, user(block)) == [HELLO, CHAT_CALLING, reply]


def test_tool_results_come_before_all_else_that_the_user_says():
    other = {**CALL, "id": "t2"}
    messages = chat_messages(
        HELLO,
        assistant(CALL, other),
        user(text("Well?"), result("a"), result("b", tool_use_id="t2")),
    )
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "t1", "content": "a"},
        {"role": "tool", "tool_call_id": "t2", "content": "b"},
        {"role": "user", "content": "Well?"},
    ]


def test_images_of_tool_results_follow_in_the_users_message():
    other = {**CALL, "id": "t2"}
    second = {"type": "text", "text": "[image 2 of the tool results]"}
    messages = chat_messages(
        HELLO,
        assistant(CALL, other),
        user(result([text("a"), IMAGE]), result([IMAGE], tool_use_id="t2"), text("Well?")),
    )
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "t1", "content": f"a\n{LABEL['text']}"},
        {"role": "tool", "tool_call_id": "t2", "content": second["text"]},
        {"role": "user", "content": [LABEL, PIXEL, second, PIXEL, text("Well?")]},
    ]


def test_messages_of_one_role_in_a_row_are_one_turn():
    messages = chat_messages(
        HELLO,
        user(text("you")),
        assistant(text("I")),
        CALLING,
        {"role": "user", "content": "Wait"},
        user(result("found")),
    )
    assert messages == [
        user(text("Hello"), text("you")),
        {**CHAT_CALLING, "content": "I"},
        {"role": "tool", "tool_call_id": "t1", "content": "found"},
        {"role": "user", "content": "Wait"},
    ]


def test_a_system_message_may_stand_between_the_others():
    later = {"role": "system", "content": "Be brief."}
    told = "Hello\n\n<system-reminder>\nBe brief.\n</system-reminder>\n\nHello"
    assert chat_messages(HELLO, later, HELLO) == [{"role": "user", "content": told}]


def test_there_may_be_tools_of_many_servers():
    tools = [{**TOOL, "name": f"mcp__{n}"} for n in range(1024)]
    assert len(chat_with(tools=tools)["tools"]) == 1024


# --- Other fields --------------------------------------------------------------------------------

NAMED = {"type": "function", "function": {"name": "search"}}
CHAT_FORMAT = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"temperature": 1, "top_p": 0.5, "top_k": 40, "stream": True},
            {"temperature": 1, "top_p": 0.5, "top_k": 40, "stream": True},
        ),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}),
        ({"stop_sequences": []}, {}),
        ({"metadata": {"user_id": "alice"}}, {"user": "alice"}),
        ({"metadata": {"user_id": None}}, {}),
        ({"metadata": {}}, {}),
        ({"thinking": {"type": "disabled"}}, {"reasoning": {"enabled": False}}),
        ({"thinking": {"type": "adaptive"}}, {"reasoning": {"enabled": True}}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 40}},
            {"reasoning": {"enabled": True, "max_tokens": 40}},
        ),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            {"reasoning": {"enabled": True, "exclude": True}},
        ),
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "max"}),
        (
            {"output_config": {"effort": "low"}, "thinking": {"type": "disabled"}},
            {"reasoning": {"enabled": False}},
        ),
        ({"output_config": {"format": FORMAT, "effort": None}}, CHAT_FORMAT),
        ({"output_format": FORMAT}, CHAT_FORMAT),
        ({"output_config": {"task_budget": {"type": "tokens"}}}, {}),
        ({"models": ["fast"], "session_id": "s"}, {"models": ["fast"], "session_id": "s"}),
        ({"provider": {"sort": "price"}}, {"provider": {"sort": "price"}}),
        ({"tools": [], "tool_choice": {"type": "auto"}}, {}),
        ({"tool_choice": {"type": "none"}}, {}),
        ({"service_tier": "auto", "context_management": {"edits": []}, **CACHED}, {}),
        ({"mcp_servers": [], "container": None, "betas": ["x"], "new": {"a": 1}}, {}),
    ],
)
def test_other_fields_find_their_place(fields, expected):
    assert new_in(chat_with(**fields)) == expected


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - {"model", "messages", "max_tokens"}))
def test_null_counts_as_absent(name):
    assert chat_with(**{name: None}) == chat_with()


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (TOOL, {"name": "search", "description": "Finds.", "parameters": SCHEMA}),
        (
            {"type": "custom", "name": "search", "input_schema": {}, "description": None},
            {"name": "search", "parameters": {}},
        ),
        (
            {"name": "search", "input_schema": {}, "strict": True, "eager_input_streaming": True},
            {"name": "search", "parameters": {}, "strict": True},
        ),
    ],
)
def test_tools_become_functions(tool, expected):
    assert chat_with(tools=[tool])["tools"] == [{"type": "function", "function": expected}]


def test_the_cache_mark_of_a_tool_is_kept():
    assert chat_with(tools=[{**TOOL, **CACHED}])["tools"][0]["cache_control"] == MARK


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "search"}, {"tool_choice": NAMED}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
    ],
)
def test_the_choice_of_a_tool(choice, expected):
    assert new_in(chat_with(tools=[TOOL], tool_choice=choice)).items() >= expected.items()


# --- There and back ------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**53) | st.floats(0, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_thought = st.text(min_size=1, max_size=9)
_call = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "name": st.just("search"),
        "input": st.dictionaries(_thought, _json),
    }
)


@given(reasoning=st.none() | _thought, said=st.none() | _thought, calls=st.lists(_call, max_size=3))
def test_an_answer_goes_back_upstream_as_it_came(reasoning, said, calls):
    given_calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": "search", "arguments": orjson.dumps(call["input"]).decode()},
        }
        for call in calls
    ]
    choice = {"role": "assistant", "content": said, "tool_calls": given_calls or None}
    whole = {"message": {**choice, "reasoning": reasoning}, "finish_reason": "stop"}
    answer = message({"id": "chatcmpl-1", "model": "m", "choices": [whole]}, USAGE)
    sent = {"role": "assistant", "content": answer["content"]}
    if not sent["content"]:
        return
    TypeAdapter(MessageParam).validate_python(sent)
    back = chat_messages(HELLO, sent)[1]
    assert back.get("reasoning_content") == reasoning
    assert (back["content"] or None) == said
    assert back.get("tool_calls", []) == given_calls
