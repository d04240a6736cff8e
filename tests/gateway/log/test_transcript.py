"""What was said is readable, in whichever API it was said, and however odd it is."""

import orjson
import pytest

from gateway.log.transcript import MAX_TEXT, Said, transcript_of
from tests.support.gateway.anthropic_bodies import DOCUMENT, SEARCH_RESULT, user


def messages_of(request) -> list[Said]:
    return transcript_of(orjson.dumps({"request": request})).messages


def answers_of(answer) -> list[Said]:
    return transcript_of(orjson.dumps({"answer": answer})).answers


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        (
            {"messages": [{"role": "user", "content": "hello"}]},
            [Said("user", "hello")],
        ),
        (
            {
                "system": "Be short.",
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "source": {}},
                            {"type": "text", "text": "What is it?"},
                        ],
                    },
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "name": "look", "input": "{}"}],
                    },
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "content": "a cat"}],
                    },
                ],
            },
            [
                Said("system", "Be short."),
                Said("user", "[image]\n\nWhat is it?"),
                Said("assistant", "look({})"),
                Said("user", "a cat"),
            ],
        ),
        (
            {
                "instructions": "Be short.",
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
                    {"type": "function_call", "name": "look", "arguments": "{}"},
                    {"type": "function_call_output", "output": "a cat"},
                ],
            },
            [
                Said("system", "Be short."),
                Said("user", "hello"),
                Said("function_call", "look({})"),
                Said("function_call_output", "a cat"),
            ],
        ),
        (
            {
                "messages": [
                    user(
                        DOCUMENT,
                        {**DOCUMENT, "title": None, "source": {"type": "content", "content": "b"}},
                        {"type": "document", "source": {"type": "base64", "data": "JVBERi0="}},
                        SEARCH_RESULT,
                        {"type": "document", "source": ["x"]},
                    )
                ]
            },
            [
                Said(
                    "user",
                    "Lawn\n\nFrom a diary.\n\nThe grass is green.\n\nFrom a diary.\n\nb"
                    "\n\n[document]\n\nSky\n\nhttps://example.org/sky\n\nThe sky"
                    "\n\nis blue.\n\n[document]",
                )
            ],
        ),
        ({"input": "hello"}, [Said("input", "hello")]),
        ({"input": ["one", "two"]}, [Said("input", "one\n\ntwo")]),
        ({"prompt": "Once upon"}, [Said("prompt", "Once upon")]),
        ({"prompt": [1, 2, 3]}, [Said("prompt", "[3 tokens]")]),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}],
                    }
                ]
            },
            [Said("assistant", "look({})")],
        ),
    ],
)
def test_a_request_is_told_message_by_message(request_body, expected):
    assert messages_of(request_body) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            [{"message": {"content": "42", "reasoning": "6 × 7"}}],
            [Said("assistant", "42", "6 × 7")],
        ),
        ([{"content": "42"}], [Said("assistant", "42")]),
        ([{"index": 0, "text": " a time"}], [Said("assistant", " a time")]),
        (
            [{"tool_calls": [{"id": "1", "name": "look", "arguments": "{}"}]}],
            [Said("assistant", "look({})")],
        ),
        (
            [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}],
            [Said("assistant", "a"), Said("assistant", "b")],
        ),
        ({"embeddings": 2, "dimensions": 576}, [Said("answer", "2 embeddings, 576 dimensions")]),
        (None, []),
        ([], []),
    ],
)
def test_an_answer_is_told_whole_or_streamed(answer, expected):
    assert answers_of(answer) == expected


@pytest.mark.parametrize(
    "request_body",
    [
        None,
        "not JSON",
        [],
        7,
        {"messages": "hello"},
        {"messages": {"role": "user"}},
        {"messages": [None, 3, [["x"]], {"role": 5, "content": {"content": {"content": 1}}}]},
        {"messages": [{"tool_calls": [{"function": []}, "x"]}]},
        {"input": [[1, 2], "x", None]},
        {"system": [{"type": ["x"]}]},
    ],
)
def test_what_is_no_message_breaks_nothing(request_body):
    transcript_of(
        orjson.dumps({"request": request_body, "answer": [None, 3, {"message": 1}], "ip": None})
    )


def test_what_is_nested_too_deeply_breaks_nothing():
    deep = b'{"request": {"messages": [' + b'{"content": [' * 150 + b"]}" * 150 + b"]}}"
    assert len(transcript_of(deep).messages) == 1
    deeper = b'{"request": {"messages": ' + b"[" * 900 + b"]" * 900 + b"}}"
    assert "too deeply" in transcript_of(deeper).request_json


def test_a_long_text_is_cut_and_says_so():
    (message,) = messages_of({"prompt": "x" * (MAX_TEXT + 5)})
    assert message.text.endswith("[5 more characters]")
