"""One reader understands every form in which providers write text and thoughts."""

import pytest

from gateway.dialects.chat.answer import Answer, hide_thoughts, logged_answers, make_plain

THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"text": "."}]}
TEXT = {"type": "text", "text": "Hi"}


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ({"content": [THINKING, TEXT]}, {"content": "Hi", "reasoning": "Hm."}),
        ({"content": [TEXT, "!"], "reasoning": "Hm."}, {"content": "Hi!", "reasoning": "Hm."}),
        ({"content": [THINKING], "reasoning": "Ah. "}, {"content": "", "reasoning": "Ah. Hm."}),
        ({"content": [], "refusal": [TEXT]}, {"content": "", "refusal": "Hi"}),
        ({"content": TEXT, "reasoning": [TEXT, 5]}, {"content": "Hi", "reasoning": "Hi"}),
        ({"content": 5, "reasoning": {"a": 1}}, {"content": "", "reasoning": ""}),
    ],
)
def test_each_form_becomes_plain(said, plain):
    make_plain(said)
    assert said == plain


@pytest.mark.parametrize("reasoning", [{}, {"reasoning": None}, {"reasoning": ""}])
def test_thoughts_of_another_name_stand_in_reasoning_too(reasoning):
    said = {"reasoning_content": "Hm.", **reasoning}
    make_plain(said)
    assert said == {"reasoning_content": "Hm.", "reasoning": "Hm."}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"content": None, "reasoning": None, "refusal": None},
        {"role": "assistant", "content": "Hi"},
        {"reasoning": "Hm.", "reasoning_details": [{"text": "Hm."}]},
        {"content": "", "reasoning_content": ""},
        {"refusal": "No."},
    ],
)
def test_what_is_plain_stays_as_it_came(said):
    before = dict(said)
    make_plain(said)
    assert said == before


@pytest.mark.parametrize(
    "thoughts",
    [
        {"reasoning": "Hm."},
        {"reasoning_content": "Hm."},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
    ],
)
def test_thoughts_of_every_name_can_be_hidden(thoughts):
    said = {"role": "assistant", "content": [THINKING, TEXT], **thoughts}
    hide_thoughts(said)
    assert said == {"role": "assistant", "content": [TEXT]}


def test_the_log_is_read_whatever_form_its_answers_have():
    calls = [{"function": {"name": "f", "arguments": {"a": 1}}}, {"name": "g", "arguments": "{}"}]
    logged = [
        {"index": 2, "text": " a time"},
        {"index": 1, "message": {"content": [THINKING, TEXT], "tool_calls": calls}},
        "odd",
        {"content": "Hi", "refusal": " no", "reasoning_content": "Hm."},
    ]
    assert [*logged_answers(logged)] == [
        Answer("Hm.", "Hi no", []),
        Answer("Hm.", "Hi", [("f", '{"a":1}'), ("g", "{}")]),
        Answer("", " a time", []),
    ]
