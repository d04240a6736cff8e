"""Responses requests, made chat requests: what each field and item becomes, and what is refused."""

import copy
import json
import re

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from gateway.dialects.chat import request as chat_request
from gateway.dialects.responses.answer import response
from gateway.dialects.responses.request import chat_body
from gateway.errors import GatewayError, Unprocessable
from gateway.wire import body as json_body
from tests.support.gateway.chat_bodies import PIXEL, SCHEMA
from tests.support.gateway.responses_bodies import (
    AGENT,
    CALL,
    CHAT_CALL,
    CHAT_OTHER_CALL,
    CHAT_OTHER_TOOL,
    CHAT_REPLY,
    CHAT_TOOL,
    FORMAT,
    OTHER_TOOL,
    OUTPUT,
    THOUGHT,
    TOOL,
    USAGE,
    USER,
    answer_with,
    body_with,
    refusal,
    translated,
)


def test_a_small_request_becomes_one_message():
    assert translated() == {
        "model": "kyma/model",
        "messages": [{"role": "user", "content": "Hello"}],
    }


def test_a_whole_request_is_translated():
    assert chat_body(AGENT) == {
        "model": "kyma/model",
        "messages": [
            {"role": "system", "content": "You are an agent.\n\nRules"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": PIXEL, "detail": "auto"}},
                ],
            },
            {
                "role": "assistant",
                "content": "Hi",
                "reasoning_content": "Hm.",
                "tool_calls": [CHAT_CALL, CHAT_OTHER_CALL],
            },
            CHAT_REPLY,
            {"role": "tool", "tool_call_id": "c2", "content": "opened"},
        ],
        "tools": [CHAT_TOOL, CHAT_OTHER_TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning_effort": "medium",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": True,
        "prompt_cache_key": "k",
        "metadata": {"a": "b"},
        "user": "alice",
    }
    assert chat_request.parse(chat_body(AGENT)).unknown == {}


def test_a_request_is_left_as_it_is():
    before = copy.deepcopy(AGENT)
    chat_body(AGENT)
    assert before == AGENT


@pytest.mark.parametrize(
    ("given", "chat"),
    [
        ({"instructions": ""}, {}),
        ({"store": False, "background": False, "previous_response_id": None}, {}),
        ({"text": {"verbosity": "high"}}, {}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        ({"reasoning": {}}, {}),
        ({"reasoning": {"effort": None, "summary": "auto"}}, {}),
        ({"reasoning": {"effort": "none"}}, {"reasoning_effort": "none"}),
        ({"reasoning": {"effort": "max"}}, {"reasoning_effort": "max"}),
        ({"top_logprobs": 0}, {}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"], "truncation": "auto"}, {}),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
        ({"tool_choice": "none"}, {}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "name": "search"}},
            {
                "tools": [CHAT_TOOL],
                "tool_choice": {"type": "function", "function": {"name": "search"}},
            },
        ),
        (
            {
                "tools": [TOOL, OTHER_TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "open"}],
                },
            },
            {"tools": [CHAT_OTHER_TOOL], "tool_choice": "required"},
        ),
        ({"stream_options": {"include_obfuscation": False}, "max_tool_calls": 3}, {}),
        (
            {"top_k": 3, "provider": {"sort": "price"}},
            {"top_k": 3, "provider": {"sort": "price"}},
        ),
        ({"n": 5, "messages": [], "max_tokens": 5, "logprobs": True}, {}),
        ({"service_tier": "auto", "safety_identifier": "a"},) * 2,
    ],
)
def test_a_field_becomes_what_chat_calls_it(given, chat):
    small = {"model": "kyma/model", "messages": [{"role": "user", "content": "Hello"}]}
    assert translated(**given) == small | chat


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"store": True}, "store", "send false"),
        ({"store": "no"}, "store", "true or false"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "`input`"),
        ({"conversation": {"id": "conv_1"}}, "conversation", "`input`"),
        ({"background": True}, "background", "leave it out"),
        ({"prompt": {"id": "p"}}, "prompt", "`instructions`"),
        ({"input": None}, "input", "missing"),
        ({"input": 5}, "input", "a string or a list of items"),
        ({"input": []}, "input", "empty list"),
        ({"input": [THOUGHT]}, "input", "reasoning"),
        ({"input": [USER] * 2001}, "input", "at most 2,000"),
        ({"input": ["Hello"]}, "input[0]", "an item"),
        ({"input": [{}]}, "input[0].type", "is missing"),
        ({"input": [USER, {"id": "msg_1"}]}, "input[1]", "send the item itself"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", "send the item itself"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type", "not computer_call"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "not tool"),
        ({"input": [{"role": "user"}]}, "input[0].content", "is missing"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content", "empty list"),
        ({"input": [{**CALL, "call_id": ""}]}, "input[0].call_id", "empty"),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments", "a string"),
        ({"input": [CALL, {**OUTPUT, "output": None}]}, "input[1].output", "is missing"),
        ({"input": [{**THOUGHT, "content": [{"text": 5}]}]}, "input[0].content[0].text", "string"),
        ({"model": None}, "model", "is missing"),
        ({"tools": ["search"]}, "tools[0]", "an object"),
        ({"tools": [{"name": "search"}]}, "tools[0].type", "is missing"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "is missing"),
        ({"tools": [{**TOOL, "name": "a b"}]}, "tools[0].name", "letters"),
        ({"tools": [TOOL, {**TOOL, "parameters": "{}"}]}, "tools[1].parameters", "object"),
        ({"tools": [TOOL] * 1025}, "tools", "1,024"),
        ({"tools": [TOOL], "tool_choice": "search"}, "tool_choice", "none, auto or required"),
        ({"tools": [TOOL], "tool_choice": {"type": "mcp"}}, "tool_choice.type", "not mcp"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.name", "missing"),
        (
            {
                "tools": [TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "open"}],
                },
            },
            "tool_choice.tools[0].name",
            "isn't in `tools`",
        ),
        ({"max_output_tokens": 0}, "max_output_tokens", "from 1"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "not huge"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary", "not long"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "not xml"),
        ({"text": {"format": {**FORMAT, "name": "a b"}}}, "text.format.name", "letters"),
        ({"text": {"format": {**FORMAT, "schema": None}}}, "text.format.schema", "missing"),
        ({"text": {"format": {**FORMAT, "description": 1}}}, "text.format.description", "string"),
        ({"truncation": "middle"}, "truncation", "auto or disabled"),
        ({"metadata": {"a": 1}}, "metadata", "a string"),
        ({"include": "all"}, "include", "a list"),
        ({"top_logprobs": 21}, "top_logprobs", "20"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls", "true or false"),
    ],
)
def test_a_refusal_names_the_field_as_the_caller_did(fields, param, told):
    error = refusal(**fields)
    assert error.param == param
    assert told in error.message


OTHER_KINDS = [
    {"type": "web_search", "external_web_access": False},
    {"type": "shell", "environment": {"type": "container_auto"}},
    {"type": "image_generation", "output_format": "png"},
    {"type": "mcp", "server_label": "x", "server_url": "https://example.org"},
    {"type": "what comes next year"},
]


@pytest.mark.parametrize("choice", [None, "auto", "none", {"type": "function", "name": "search"}])
def test_tools_that_kyma_would_have_to_run_are_left_out_as_the_response_tells(choice):
    asked = {"tools": [OTHER_KINDS[0], TOOL, *OTHER_KINDS[1:]], "tool_choice": choice}
    assert translated(**asked) == translated(tools=[TOOL], tool_choice=choice)
    told = response(answer_with({"content": "Hi"}), USAGE, body_with(**asked))["tools"]
    assert told == [{**TOOL, "description": None}]


def test_without_any_function_there_are_no_tools():
    asked = {"tools": OTHER_KINDS, "tool_choice": "auto", "parallel_tool_calls": False}
    assert translated(**asked) == translated()


def test_a_tool_that_can_not_be_called_is_refused_where_one_must_be():
    error = refusal(tools=[TOOL, OTHER_KINDS[0]], tool_choice="required")
    assert error.param == "tools[1].type"
    assert "leave this one out" in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [OUTPUT, CALL]}, "input[0].call_id"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "open"}}, "tool_choice"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, param):
    assert refusal(Unprocessable, **fields).param == param


# --- Whatever comes

_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([1e308, 2**63, "", "text", "auto", "user", "function", "max", PIXEL]),
    st.text(max_size=3),
)
_names = st.sampled_from(["type", "name", "text", "id", "role", "content", "image_url", "format"])
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=3)
    ),
    max_leaves=5,
)
# Chat checks these, under the names that the caller used.
SAME_IN_CHAT = {"model", "stream", "temperature", "top_p", "user", "metadata", "tool_choice"}
SAME_IN_CHAT |= {"prompt_cache_key", "safety_identifier", "service_tier"}


def places(value):
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def mutated_bodies(draw):
    body = copy.deepcopy(AGENT)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(body))))
        if draw(st.booleans()):
            container[key] = draw(_values)
        else:
            del container[key]
    return body


def raised_by(rule, body) -> GatewayError | None:
    try:
        rule(body)
    except GatewayError as error:
        return error
    return None


def check_outcome(body):
    """It is refused under the caller's names, or accepted: then a response can repeat it."""
    if error := raised_by(chat_body, body):
        assert f"`{error.param}` " in error.message
    elif error := raised_by(chat_request.parse, chat_body(body)):
        assert re.match(r"\w*", error.param)[0] in SAME_IN_CHAT
    else:
        repeated = response(answer_with({"content": "Hi"}), USAGE, body)
        Response.model_validate_json(orjson.dumps(repeated), strict=True)


@given(mutated_bodies())
@settings(max_examples=300)
def test_a_mutated_request_is_refused_or_understood(body):
    check_outcome(json_body.parse(json.dumps(body).encode()))


@given(st.dictionaries(st.sampled_from(list(AGENT)), _values))
@settings(max_examples=100)
def test_any_object_is_refused_or_understood(body):
    check_outcome(body)
