"""Instructions and neighbours become what strict chat templates take, whatever API they came by."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.chat.turns import in_turns
from tests.support.gateway import responses_bodies
from tests.support.gateway.anthropic_bodies import (
    CACHED,
    CALLING,
    HELLO,
    chat_with,
    result,
    text,
    user,
)
from tests.support.gateway.responses_bodies import CALL, CHAT_CALL, CHAT_REPLY, OUTPUT, translated


def say(role: str, content) -> dict:
    return {"role": role, "content": content}


def reminder(rule: str) -> str:
    return f"<system-reminder>\n{rule}\n</system-reminder>"


ASSISTANT = say("assistant", "Hi")
CALLING_CHAT = {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([HELLO, ASSISTANT, HELLO], [HELLO, ASSISTANT, HELLO]),
        ([say("system", "a"), say("developer", "b"), HELLO], [say("system", "a\n\nb"), HELLO]),
        ([say("developer", "a"), say("developer", "b")], [say("system", "a\n\nb")]),
        ([say("developer", "a"), HELLO], [say("system", "a"), HELLO]),
        (
            [say("system", [text("a", **CACHED)]), say("system", "b"), HELLO],
            [say("system", [text("a", **CACHED), text("b")]), HELLO],
        ),
        ([say("user", "a"), say("user", "b")], [say("user", "a\n\nb")]),
        ([say("user", "a"), say("system", "b")], [say("user", f"a\n\n{reminder('b')}")]),
        (
            [HELLO, ASSISTANT, say("developer", "b"), say("user", "c")],
            [HELLO, ASSISTANT, say("user", f"{reminder('b')}\n\nc")],
        ),
        (
            [HELLO, say("system", [text("b", **CACHED)]), say("user", "c")],
            [say("user", [text("Hello"), text(reminder("b"), **CACHED), text("c")])],
        ),
        ([ASSISTANT, say("system", "b")], [ASSISTANT, say("user", reminder("b"))]),
        # Results come right behind their calls.
        (
            [CALLING_CHAT, say("system", "b"), CHAT_REPLY, HELLO],
            [CALLING_CHAT, CHAT_REPLY, say("user", f"{reminder('b')}\n\nHello")],
        ),
        # Answers in a row are none of a template's worries that could be told for them.
        ([ASSISTANT, ASSISTANT], [ASSISTANT, ASSISTANT]),
    ],
)
def test_messages_come_in_turns(messages, expected):
    given = copy.deepcopy(messages)
    assert in_turns(messages) == expected
    assert messages == given


@given(st.lists(st.sampled_from(["system", "developer", "user", "assistant"]), max_size=8))
def test_a_strict_template_has_nothing_to_refuse(roles):
    messages = [say(role, f"said-{place}-") for place, role in enumerate(roles)]
    turns = in_turns(messages)
    assert not any(one["role"] in ("system", "developer") for one in turns[1:])
    assert not any(
        one["role"] == other["role"] == "user" for one, other in zip(turns, turns[1:], strict=False)
    )
    told = "".join(turn["content"] for turn in turns)
    order = [told.index(message["content"]) for message in messages]
    assert order == sorted(order)
    assert in_turns(turns) == turns


def test_claude_code_reminds_in_the_middle():
    """What `claude -p` sends: the agent types behind the first thing that the user says."""
    chat = chat_with(
        system=[text("You are Claude Code."), text("Rules", **CACHED)],
        messages=[user(text("say hi")), say("system", [text("Available agent types")])],
    )
    assert chat["messages"] == [
        say("system", [text("You are Claude Code."), text("Rules", **CACHED)]),
        say("user", f"say hi\n\n{reminder('Available agent types')}"),
    ]


def test_anthropics_system_messages_at_the_beginning_are_instructions_too():
    chat = chat_with(system="a", messages=[say("system", "b"), HELLO])
    assert chat["messages"] == [say("system", "a\n\nb"), HELLO]


def test_a_rule_gives_way_to_the_results_of_tools():
    chat = chat_with(messages=[HELLO, CALLING, say("system", "b"), user(result("found"))])
    assert [one["role"] for one in chat["messages"]] == ["user", "assistant", "tool", "user"]


def test_codex_begins_with_two_of_each():
    """What `codex exec` sends: permissions, rules, its surroundings, and what the user says."""
    chat = translated(
        instructions="You are Codex.",
        input=[
            say("developer", "Permissions"),
            say("developer", [{"type": "input_text", "text": t} for t in "ab"]),
            say("user", "<environment_context>"),
            say("user", "say hi"),
            CALL,
            say("developer", "Hurry"),
            OUTPUT,
        ],
    )
    assert chat["messages"] == [
        say("system", list(map(text, ("You are Codex.", "Permissions", "a", "b")))),
        say("user", "<environment_context>\n\nsay hi"),
        CALLING_CHAT,
        CHAT_REPLY,
        say("user", reminder("Hurry")),
    ]


def test_what_an_agent_sends_has_its_rules_in_one_message():
    roles = [one["role"] for one in translated(**responses_bodies.AGENT)["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
