"""The builders make what clients of the protocol expect."""

import pytest

from tests.support.provider.client import ask
from tests.support.provider.fake import FakeProvider
from tests.support.provider.scripts import (
    Done,
    End,
    Event,
    answer,
    chunk,
    error,
    sse,
    stream,
    tool_call_answer,
    tool_call_stream,
    usage_of,
)


@pytest.fixture(scope="module")
def fake():
    with FakeProvider() as server:
        yield server


def chunks_of(steps):
    return [step.payload for step in steps if isinstance(step, Event)]


def test_usage_may_come_with_choices_or_not_at_all():
    with_choices = chunks_of(stream("a b", usage=usage_of(3, 2), usage_with_choices=True))
    assert with_choices[-1]["choices"][0]["finish_reason"] == "stop"
    assert with_choices[-1]["usage"] == usage_of(3, 2)

    without = stream("a b", usage=None, done=False, role_chunk=False, finish_reason=None)
    assert [each["choices"][0]["delta"] for each in chunks_of(without)] == [
        {"content": "a "},
        {"content": "b"},
    ]
    assert not any("usage" in each for each in chunks_of(without))
    assert isinstance(without[-1], End)
    assert Done() not in without


def test_an_answer_may_override_its_fields_and_lack_usage(fake):
    body = ask(fake, fake.script(answer(None, prompt_tokens=None, extra={"id": "mine"}))).json()
    assert body["id"] == "mine"
    assert "usage" not in body
    assert body["choices"][0]["message"]["content"] is None


def test_streamed_tool_calls_add_up_to_the_plain_ones(fake):
    calls = [("lookup", {"city": "Tromsø", "days": [1, 2]}), ("broken", '{"a": ')]
    [plain] = ask(fake, fake.script(tool_call_answer(calls))).json()["choices"]
    merged = {}
    for each in chunks_of(tool_call_stream(calls, fragment=3)):
        for choice in each["choices"]:
            for part in choice["delta"].get("tool_calls", []):
                first = {**part, "function": dict(part["function"])}
                known = merged.setdefault(part["index"], first)
                if known is not first:
                    known["function"]["arguments"] += part["function"]["arguments"]

    assert plain["finish_reason"] == "tool_calls"
    assert [{**call, "index": n} for n, call in enumerate(plain["message"]["tool_calls"])] == [
        merged[0],
        merged[1],
    ]


def test_an_error_has_its_status_code_and_headers(fake):
    token = fake.script(error(429, "slow down", "rate_limited", {"retry-after": "7"}))
    response = ask(fake, token)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.json()["error"]["code"] == "rate_limited"
    assert response.json()["error"]["message"] == "slow down"


def test_a_chunk_says_usage_null_only_if_told():
    assert "usage" not in chunk({"content": "x"})
    assert chunk({"content": "x"}, usage=None)["usage"] is None
    assert sse({"a": "ü"}) == 'data: {"a":"ü"}\n\n'.encode()
