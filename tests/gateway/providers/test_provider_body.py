"""What goes to the provider and what never does."""

import pytest

from gateway.dialects.chat.fields import CHECKS, FORWARDED
from tests.support.gateway.chat_bodies import GIVEN, HELLO, NEVER_FORWARDED, forwarded, request_with


def test_the_table_of_examples_is_complete():
    assert GIVEN.keys() == FORWARDED.keys()
    ours = {"model", "messages", "stream", "stream_options", "n"}
    limits = {"max_tokens", "max_completion_tokens"}
    refused = {"web_search_options"}
    assert CHECKS.keys() - FORWARDED.keys() == NEVER_FORWARDED.keys() | ours | limits | refused


def test_every_forwarded_field_arrives_unchanged():
    sent = forwarded(request_with(**GIVEN))
    assert {name: sent[name] for name in GIVEN} == GIVEN
    assert sent.keys() == GIVEN.keys() | {"model", "messages", "stream", "max_tokens"}


@pytest.mark.parametrize("passthrough", [True, False])
@pytest.mark.parametrize("name", sorted(NEVER_FORWARDED))
def test_a_field_that_stops_here_is_never_forwarded(name, passthrough):
    request = request_with(**{name: NEVER_FORWARDED[name]})
    sent = forwarded(request, passthrough=passthrough)
    assert sent.keys() == {"model", "messages", "stream", "max_tokens"}


def test_what_kyma_sets_is_not_the_callers():
    request = request_with(
        model="best",
        stream=True,
        stream_options={"include_usage": False, "x": 1},
        max_tokens=5,
        max_completion_tokens=6,
        n=2,
    )
    assert forwarded(request) == {
        "model": "org/upstream",
        "messages": [HELLO],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 77,
        "n": 2,
    }


def test_the_limit_goes_under_the_name_that_the_provider_wants():
    sent = forwarded(request_with(max_tokens=5), wants_max_completion_tokens=True)
    assert sent["max_completion_tokens"] == 77
    assert "max_tokens" not in sent


def test_one_answer_without_a_stream_needs_neither_n_nor_stream_options():
    sent = forwarded(request_with(n=1, stream_options={"include_usage": True}))
    assert sent == {
        "model": "org/upstream",
        "messages": [HELLO],
        "stream": False,
        "max_tokens": 77,
    }


def test_unknown_fields_pass_only_over_a_passthrough_route():
    request = request_with(guided_choice=["a", "b"])
    assert "guided_choice" not in forwarded(request)
    assert forwarded(request, passthrough=True)["guided_choice"] == ["a", "b"]


def test_unsupported_fields_are_left_out_and_the_limit_never_is():
    request = request_with(top_k=5, seed=1, n=2, stream=True, odd=1)
    unsupported = frozenset({"top_k", "n", "odd", "max_tokens", "min_p"})
    assert forwarded(request, unsupported=unsupported, passthrough=True) == {
        "model": "org/upstream",
        "messages": [HELLO],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 77,
        "seed": 1,
    }


def test_a_provider_that_rejects_stream_options_sends_usage_unasked():
    request = request_with(stream=True)
    assert "stream_options" not in forwarded(request, unsupported=frozenset({"stream_options"}))


# --- Inside of messages and tools ----------------------------------------------------------------

MARK = {"cache_control": {"type": "ephemeral"}}
DEVELOPER = {"role": "developer", "content": "Be brief."}


def test_a_developer_speaks_as_the_system_where_there_is_no_such_role():
    request = request_with(messages=[DEVELOPER, HELLO])
    assert forwarded(request)["messages"] == [DEVELOPER, HELLO]
    sent = forwarded(request, unsupported=frozenset({"role:developer"}))
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, HELLO]


def test_marks_for_caching_are_taken_out_everywhere_where_they_are_rejected():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    function = {"name": "f", "parameters": schema}
    part = {"type": "text", "text": "Hello"}
    request = request_with(
        messages=[
            {"role": "user", "content": [part | MARK], **MARK},
            {"role": "assistant", "content": None, "tool_calls": [call | MARK], **MARK},
            {"role": "tool", "tool_call_id": "1", "content": "done", **MARK},
        ],
        tools=[{"type": "function", "function": function | MARK, **MARK}],
        **MARK,
    )
    assert forwarded(request)["messages"][0]["content"] == [part | MARK]
    sent = forwarded(request, unsupported=frozenset({"cache_control"}))
    assert "cache_control" not in sent
    assert sent["messages"] == [
        {"role": "user", "content": [part]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]
    assert sent["tools"] == [{"type": "function", "function": function}]


THOUGHT = {"role": "assistant", "content": "42", "reasoning_content": "hm"}
DETAILS = {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}


@pytest.mark.parametrize(
    ("rejected", "sent"),
    [
        ([], {"reasoning_content": "hm", **DETAILS}),
        (["reasoning"], {"reasoning_content": "hm", **DETAILS}),
        (["reasoning_content"], {"reasoning": "hm", **DETAILS}),
        (["reasoning_content", "reasoning_details"], {"reasoning": "hm"}),
        (["reasoning", "reasoning_content"], DETAILS),
        (["reasoning_details"], {"reasoning_content": "hm"}),
    ],
)
def test_reasoning_goes_back_under_the_name_that_the_provider_takes(rejected, sent):
    request = request_with(messages=[HELLO, THOUGHT | DETAILS, HELLO])
    unsupported = frozenset(f"message:{name}" for name in rejected)
    said = {"role": "assistant", "content": "42"}
    assert forwarded(request, unsupported=unsupported)["messages"] == [HELLO, said | sent, HELLO]


def test_names_are_left_out_where_they_are_rejected():
    named = {**HELLO, "name": "ann"}
    result = {"role": "function", "name": "look", "content": "found"}
    request = request_with(messages=[named, result])
    assert forwarded(request)["messages"] == [named, result]
    sent = forwarded(request, unsupported=frozenset({"message:name"}))["messages"]
    assert sent == [HELLO, result]


def test_the_next_provider_gets_the_messages_as_they_came():
    messages = [DEVELOPER | MARK, HELLO, THOUGHT]
    request = request_with(messages=messages)
    unsupported = {"cache_control", "role:developer", "message:reasoning_content"}
    forwarded(request, unsupported=frozenset(unsupported))
    assert forwarded(request)["messages"] == messages == [DEVELOPER | MARK, HELLO, THOUGHT]
