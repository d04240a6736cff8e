"""Items of a Responses request, made messages: how they join, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.responses.answer import response
from tests.support.gateway.chat_bodies import PIXEL
from tests.support.gateway.responses_bodies import (
    ANSWER,
    CALL,
    CHAT_CALL,
    CHAT_OTHER_CALL,
    CHAT_REPLY,
    OTHER_CALL,
    OTHER_OUTPUT,
    OUTPUT,
    THOUGHT,
    USAGE,
    USER,
    answer_with,
    messages_of,
    refusal,
)

LABEL = {"type": "text", "text": "[image 1 of the tool results]"}
SEEN = {
    "role": "user",
    "content": [LABEL, {"type": "image_url", "image_url": {"url": PIXEL}}],
}


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([USER, ANSWER, USER], [USER, {"role": "assistant", "content": "Hi"}, USER]),
        (
            [USER, {"role": "assistant", "content": "Hi"}],
            [USER, {"role": "assistant", "content": "Hi"}],
        ),
        # Two answers in a row stay two.
        ([ANSWER, ANSWER], [{"role": "assistant", "content": "Hi"}] * 2),
        (
            [ANSWER, CALL, OUTPUT],
            [{"role": "assistant", "content": "Hi", "tool_calls": [CHAT_CALL]}, CHAT_REPLY],
        ),
        (
            [CALL, OUTPUT, OTHER_CALL, OTHER_OUTPUT],
            [
                {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
                CHAT_REPLY,
                {"role": "assistant", "content": None, "tool_calls": [CHAT_OTHER_CALL]},
                {"role": "tool", "tool_call_id": "c2", "content": "opened"},
            ],
        ),
        # What follows a call waits with it for the output.
        (
            [CALL, ANSWER, THOUGHT, OTHER_CALL, OUTPUT, OTHER_OUTPUT],
            [
                {
                    "role": "assistant",
                    "content": "Hi",
                    "reasoning_content": "Hm.",
                    "tool_calls": [CHAT_CALL, CHAT_OTHER_CALL],
                },
                CHAT_REPLY,
                {"role": "tool", "tool_call_id": "c2", "content": "opened"},
            ],
        ),
        (
            [ANSWER, THOUGHT, CALL, OUTPUT],
            [
                {"role": "assistant", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "Hm.",
                    "tool_calls": [CHAT_CALL],
                },
                CHAT_REPLY,
            ],
        ),
        (
            [THOUGHT, THOUGHT, ANSWER],
            [{"role": "assistant", "content": "Hi", "reasoning_content": "Hm.\n\nHm."}],
        ),
        # Reasoning that led to nothing.
        ([THOUGHT, USER], [USER]),
        ([THOUGHT, USER, ANSWER], [USER, {"role": "assistant", "content": "Hi"}]),
        (
            [THOUGHT, {"role": "developer", "content": "Rules"}, ANSWER],
            [
                {"role": "system", "content": "Rules"},
                {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."},
            ],
        ),
        ([USER, THOUGHT], [USER]),
        (
            [{"type": "reasoning", "summary": [{"text": "S"}], "encrypted_content": "x"}, ANSWER],
            [{"role": "assistant", "content": "Hi", "reasoning_content": "S"}],
        ),
        (
            [{"type": "reasoning", "summary": [], "encrypted_content": "x"}, ANSWER],
            [{"role": "assistant", "content": "Hi"}],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
            [{"role": "assistant", "content": None, "refusal": "No."}],
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "output_text", "text": "a"},
                        {"type": "output_text", "text": "b"},
                    ],
                }
            ],
            [{"role": "assistant", "content": "ab"}],
        ),
        (
            [CALL, {**OUTPUT, "output": [{"type": "input_image", "image_url": PIXEL}]}],
            [
                {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": LABEL["text"]},
                SEEN,
            ],
        ),
        # What is to be seen in outputs waits for the last of them.
        (
            [
                CALL,
                OTHER_CALL,
                {
                    **OUTPUT,
                    "output": [
                        {"type": "input_text", "text": "found"},
                        {"type": "input_image", "image_url": PIXEL},
                    ],
                },
                OTHER_OUTPUT,
                THOUGHT,
                ANSWER,
            ],
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [CHAT_CALL, CHAT_OTHER_CALL],
                },
                {
                    "role": "tool",
                    "tool_call_id": "c1",
                    "content": [{"type": "text", "text": "found"}, LABEL],
                },
                {"role": "tool", "tool_call_id": "c2", "content": "opened"},
                SEEN,
                {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."},
            ],
        ),
        (
            [CALL, {**OUTPUT, "output": [{"type": "input_image", "image_url": PIXEL}]}, USER],
            [
                {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": LABEL["text"]},
                {
                    "role": "user",
                    "content": [*SEEN["content"], {"type": "text", "text": "Hello"}],
                },
            ],
        ),
        (
            [CALL, {**OUTPUT, "output": []}],
            [
                {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": ""},
            ],
        ),
        (
            [{"role": "user", "content": [{"type": "input_text", "text": t} for t in "ab"]}],
            [{"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]}],
        ),
    ],
)
def test_items_become_messages(items, messages):
    assert messages_of(*items) == messages


@pytest.mark.parametrize(
    "hosted",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}},
        {"type": "file_search_call", "id": "fs_1", "queries": ["x"], "results": None},
        {"type": "code_interpreter_call", "id": "ci_1", "code": "1", "outputs": []},
        {"type": "image_generation_call", "id": "ig_1", "result": "iVBORw0KGgo="},
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "x", "tools": []},
        {"type": "mcp_call", "id": "mcp_1", "name": "find", "arguments": "{}", "output": "x"},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"},
    ],
    ids=lambda item: item["type"],
)
def test_what_ran_at_openai_is_passed_over(hosted):
    answer = {"role": "assistant", "content": "Hi"}
    assert messages_of(USER, hosted, ANSWER) == [USER, answer]
    assert messages_of(USER, THOUGHT, hosted, ANSWER) == [
        USER,
        {**answer, "reasoning_content": "Hm."},
    ]
    assert refusal(input=[hosted]).message.startswith("`input` holds nothing but reasoning and")


def test_what_is_not_known_is_refused():
    assert refusal(input=[USER, {"type": "compaction_trigger"}]).param == "input[1].type"
    assert refusal(input=[USER, {"type": ["mcp_call"]}]).param == "input[1].type"


@pytest.mark.parametrize(
    ("part", "where", "told"),
    [
        ({"type": "input_file", "file_id": "f"}, "", "not supported yet"),
        ({"type": "input_audio"}, "", "not supported yet"),
        ({"type": "input_image", "file_id": "f"}, ".file_id", "image_url"),
        ({"type": "input_image"}, ".image_url", "is missing"),
        ({"type": "input_image", "image_url": "ftp://x"}, ".image_url", "http(s) address"),
        ({"type": "input_image", "image_url": {"url": PIXEL}}, ".image_url", "http(s) address"),
        ({"type": "input_image", "image_url": PIXEL, "detail": 1}, ".detail", "a string"),
        ({"type": "input_text"}, ".text", "is missing"),
        ({"type": "text", "text": "a"}, ".type", "input_text"),
        ("Hello", "", "an object"),
    ],
)
def test_a_refusal_names_the_part(part, where, told):
    content = [{"type": "input_text", "text": "a"}, part]
    error = refusal(input=[USER, {"role": "user", "content": content}])
    assert error.param == f"input[1].content[1]{where}"
    assert told in error.message


def test_an_image_is_no_part_of_an_answer():
    image = {"type": "input_image", "image_url": PIXEL}
    assert refusal(input=[{"role": "assistant", "content": [image]}]).param == (
        "input[0].content[0].type"
    )


_said = st.text(min_size=1, max_size=5)
_arguments = st.text(max_size=5).filter(str.strip)


@given(
    reasoning=st.none() | _said,
    content=st.none() | _said,
    calls=st.lists(st.tuples(st.sampled_from(["search", "open"]), _arguments), max_size=3),
)
@settings(max_examples=50)
def test_an_answer_comes_back_as_the_message_that_it_was(reasoning, content, calls):
    message = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": said}}
            for at, (name, said) in enumerate(calls)
        ]
    if reasoning and (content or calls):
        message["reasoning_content"] = reasoning
    answered = {**message, "reasoning": message.get("reasoning_content")}
    output = response(answer_with(answered), USAGE, {})["output"]
    expected = [message] if content or calls else []
    assert messages_of(USER, *output) == [USER, *expected]
