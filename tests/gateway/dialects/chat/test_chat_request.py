"""Fields of a chat request: their types and ranges, and where each of them goes."""

import json
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.chat.fields import CHECKS
from gateway.dialects.chat.request import ChatRequest, parse
from gateway.errors import GatewayError, Unprocessable
from gateway.wire import body as json_body
from tests.support.gateway.chat_bodies import (
    CALL,
    CALLING,
    FUNCTION,
    GIVEN,
    HELLO,
    NEVER_FORWARDED,
    PIXEL,
    REPLY,
    TOOL,
    body_with,
    forwarded,
    refusal,
    request_with,
)


def test_a_small_request_gets_defaults():
    assert parse({"model": "best", "messages": [HELLO]}) == ChatRequest(
        models=("best",),
        messages=[HELLO],
        stream=False,
        include_usage=False,
        max_tokens=None,
        n=1,
        fields={},
        unknown={},
        text_bytes=5,
        message_count=1,
        images=0,
        user=None,
        session_id=None,
        routing={},
    )


def test_a_request_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        request_with().models = ("other",)


def test_each_field_finds_its_place():
    request = request_with(
        stream=True, n=3, user="alice", session_id="s1", models=["b"], documents=["x"], min_p=0.1
    )
    assert (request.stream, request.answers) == (True, 3)
    assert (request.user, request.session_id) == ("alice", "s1")
    assert request.routing == {"models": ["b"]}
    assert request.unknown == {"documents": ["x"]}
    assert request.fields == {"min_p": 0.1}


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - {"model", "messages"}))
def test_null_counts_as_absent(name):
    assert request_with(**{name: None}) == request_with()


def test_the_narrowest_nucleus_is_asked_for_as_it_came():
    assert request_with(top_p=0).fields == {"top_p": 0}


def test_null_in_an_unknown_field_counts_as_absent():
    assert request_with(documents=None) == request_with()


@pytest.mark.parametrize("missing", ["model", "messages"])
@pytest.mark.parametrize("null", [True, False])
def test_model_and_messages_are_needed(missing, null):
    body = body_with()
    body[missing] = None
    if not null:
        del body[missing]
    error = refusal(body)
    assert error.param == missing
    assert "is missing: it must be" in error.message


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
    ],
)
def test_max_completion_tokens_wins_over_max_tokens(fields, expected):
    assert request_with(**fields).max_tokens == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"stream": True}, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True),
        ({"stream": True, "stream_options": {"include_usage": None}}, False),
        ({"stream": True, "stream_options": {}}, False),
        ({"stream": False, "stream_options": {"include_usage": True}}, False),
        ({"stream": True, "usage": {"include": True}}, True),
        ({"stream": True, "usage": {"include": False}}, False),
    ],
)
def test_usage_is_shown_to_those_who_ask(fields, expected):
    assert request_with(**fields).include_usage is expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("model", "m" * 201),
        ("model", 1),
        ("stream", 1),
        ("stream", "true"),
        ("stream_options", True),
        ("usage", []),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", True),
        ("temperature", "1"),
        ("temperature", float("nan")),
        ("top_p", -0.01),
        ("top_p", 1.01),
        ("n", 0),
        ("n", 9),
        ("n", True),
        ("n", 1.0),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_tokens", 2**31),
        ("max_completion_tokens", -1),
        ("stop", ""),
        ("stop", ["x"] * 17),
        ("stop", 3),
        ("seed", 2**63),
        ("seed", 1.0),
        ("frequency_penalty", -2.1),
        ("presence_penalty", 2.1),
        ("logit_bias", []),
        ("logit_bias", {"1": 101}),
        ("logit_bias", {"1": "1"}),
        ("logit_bias", {"1": None}),
        ("logprobs", 1),
        ("top_logprobs", 21),
        ("top_logprobs", -1),
        ("response_format", "json_object"),
        ("tools", {}),
        ("tools", [TOOL] * 1025),
        ("tool_choice", 1),
        ("tool_choice", "any"),
        ("parallel_tool_calls", "yes"),
        ("reasoning_effort", "extreme"),
        ("reasoning_effort", 1),
        ("reasoning", "high"),
        ("prediction", []),
        ("modalities", "text"),
        ("top_k", -2),
        ("top_k", 1.5),
        ("min_p", 1.1),
        ("top_a", -0.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", 2.5),
        ("cache_control", True),
        ("functions", [FUNCTION] * 1025),
        ("function_call", "required"),
        ("user", "u" * 513),
        ("user", 1),
        ("session_id", "s" * 257),
        ("metadata", []),
        ("store", "no"),
        ("service_tier", 1),
        ("models", "a"),
        ("models", ["a"] * 33),
        ("route", 1),
        ("provider", "a"),
        ("transforms", "middle-out"),
        ("plugins", {}),
        ("web_search_options", {}),
        ("messages", []),
        ("messages", {}),
        ("messages", "Hello"),
        ("messages", [HELLO] * 2001),
    ],
)
def test_a_field_of_the_wrong_type_or_range_is_named(name, value):
    error = refusal(body_with(**{name: value}))
    assert error.param == name
    assert "must be" in error.message or "value that must be" in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"usage": {"include": "yes"}}, "usage.include"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"reasoning": {"max_tokens": -1}}, "reasoning.max_tokens"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}},
            "response_format.json_schema.name",
        ),
        ({"tools": [TOOL, 1]}, "tools[1]"),
        ({"tools": [TOOL, {}]}, "tools[1].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "retrieval", "function": FUNCTION}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "x" * 129}}]},
            "tools[0].function.name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"functions": [{"name": "a\n"}]}, "functions[0].name"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}},
            "tool_choice.allowed_tools.tools",
        ),
        ({"function_call": {}}, "function_call.name"),
        ({"models": ["a", ""]}, "models[1]"),
        ({"provider": {"order": "a"}}, "provider.order"),
        ({"provider": {"only": [1]}}, "provider.only[0]"),
        ({"provider": {"zdr": "yes"}}, "provider.zdr"),
        ({"provider": {"data_collection": "ask"}}, "provider.data_collection"),
        ({"provider": {"sort": "speed"}}, "provider.sort"),
        ({"provider": {"max_price": {"prompt": -1}}}, "provider.max_price.prompt"),
        ({"provider": {"max_price": {"prompt": "free"}}}, "provider.max_price.prompt"),
        ({"provider": {"preferred_max_latency": "1"}}, "provider.preferred_max_latency"),
        ({"debug": {"echo_upstream_body": 1}}, "debug.echo_upstream_body"),
        ({"plugins": [{"id": "context-compression"}, {"id": "web"}]}, "plugins[1]"),
        ({"plugins": [{"id": "web", "enabled": True}]}, "plugins[0]"),
        ({"plugins": [{}]}, "plugins[0]"),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
    ],
)
def test_a_fault_inside_a_field_is_named_by_its_path(fields, param):
    assert refusal(body_with(**fields)).param == param


def test_errors_do_not_repeat_long_texts():
    secret = "my diagnosis is nobody's business but mine"
    bodies = [
        body_with(temperature=secret),
        body_with(messages=[{"role": secret, "content": secret}]),
        body_with(messages=[{"role": "user", "content": [secret]}]),
        body_with(logit_bias={secret: 101}),
    ]
    for body in bodies:
        assert secret not in refusal(body).message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"top_logprobs": 3, "logprobs": False}, "top_logprobs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "required", "tools": []}, "tool_choice"),
        ({"tool_choice": GIVEN["tool_choice"]}, "tool_choice"),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "function", "function": {"name": "delete"}},
            },
            "tool_choice",
        ),
        ({"function_call": {"name": "search"}}, "function_call"),
        ({"messages": [HELLO, REPLY]}, "messages[1].tool_call_id"),
        ({"messages": [REPLY, CALLING]}, "messages[0].tool_call_id"),
        ({"messages": [CALLING, REPLY | {"tool_call_id": "c2"}]}, "messages[1].tool_call_id"),
    ],
)
def test_fields_that_contradict_each_other_are_unprocessable(fields, param):
    assert refusal(body_with(**fields), Unprocessable).param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "required", "tools": [TOOL]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        {"stream_options": {"include_usage": True}},
        {"messages": [CALLING, REPLY, HELLO, REPLY]},
    ],
)
def test_fields_that_go_together_pass(fields):
    assert request_with(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tool_choice": "auto"},
        {"tool_choice": "none", "tools": [], "parallel_tool_calls": True},
        {"functions": [], "function_call": "auto"},
    ],
)
def test_what_is_said_of_no_tools_stays_here(fields):
    assert request_with(**fields).fields == {}


OPEN = {"type": "function", "function": {"name": "open"}}


def allowing(*names: str, mode: str = "required") -> dict:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def test_of_the_tools_only_those_that_are_allowed_are_offered():
    fields = request_with(tools=[TOOL, OPEN], tool_choice=allowing("search")).fields
    assert (fields["tools"], fields["tool_choice"]) == ([TOOL], "required")
    fields = request_with(tools=[TOOL, OPEN], tool_choice=allowing("open", mode="auto")).fields
    assert (fields["tools"], fields["tool_choice"]) == ([OPEN], "auto")


@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": [OPEN]}])
def test_a_tool_that_is_allowed_must_be_offered(tools):
    body = body_with(**tools, tool_choice=allowing("open", "search"))
    assert refusal(body, Unprocessable).param == "tool_choice"


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["system", "user", "assistant", "tool", "text", "image_url", "function"])
    | st.sampled_from(["none", "auto", "required", "json_schema", "low", PIXEL])
)
member_names = st.text(max_size=5) | st.sampled_from(
    ["role", "content", "name", "type", "text", "image_url", "url", "tool_calls", "id"]
    + ["function", "arguments", "parameters", "json_schema", "schema", "include_usage"]
    + ["effort", "max_tokens", "order", "sort", "max_price", "prompt"]
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(member_names, inner, max_size=5),
    max_leaves=12,
)
mostly = st.sampled_from([True] * 9 + [False])


def usually(likely: st.SearchStrategy) -> st.SearchStrategy:
    """So that most bodies get past their first field, and some don't."""
    return mostly.flatmap(lambda yes: likely if yes else json_values)


content = st.text(max_size=10) | st.just([{"type": "text", "text": "a"}])
message = st.fixed_dictionaries(
    {
        "role": usually(st.sampled_from(["system", "user", "assistant"])),
        "content": usually(content),
    },
    optional={
        "name": usually(st.text(max_size=10)),
        "tool_calls": usually(st.just([CALL])),
        "tool_call_id": usually(st.just("c1")),
        "reasoning": usually(st.text(max_size=10)),
        "reasoning_details": usually(st.just([{"type": "reasoning.text", "text": "a"}])),
        "odd": json_values,
    },
)
messages = st.lists(usually(message | st.sampled_from([CALLING, REPLY])), min_size=1, max_size=3)
examples = GIVEN | NEVER_FORWARDED | {"stream": True, "n": 2, "max_tokens": 5}
bodies = st.fixed_dictionaries(
    {"model": usually(st.just("m")), "messages": usually(messages)},
    optional={name: usually(st.just(value)) for name, value in examples.items()}
    | {"odd": json_values},
)


def without_nulls(message: dict) -> dict:
    return {name: said for name, said in message.items() if said is not None or name == "content"}


@given(body=bodies | st.dictionaries(st.sampled_from(sorted(CHECKS)) | member_names, json_values))
def test_arbitrary_json_raises_nothing_but_a_gateway_error(body):
    try:
        request = parse(json_body.parse(json.dumps(body).encode()))
    except GatewayError as refused:
        error_body, param = refused.body("req_1"), refused.param
        assert error_body
        assert param
        return
    sent = forwarded(request, passthrough=True)
    assert not sent.keys() & NEVER_FORWARDED.keys()
    assert sent["messages"] == [without_nulls(message) for message in body["messages"]]
    assert (sent["model"], sent["max_tokens"]) == ("org/upstream", 77)
