"""What Messages requests Kyma refuses, what it counts in them, and how errors look."""

import json
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.dialects.anthropic.api import chat_body, count_tokens, error_body
from gateway.dialects.anthropic.fields import CHECKS
from gateway.dialects.anthropic.request import IMAGE_TOKENS
from gateway.dialects.chat import request as chat_request
from gateway.dialects.chat.messages import MAX_MESSAGES
from gateway.errors import GatewayError, InvalidRequest
from gateway.wire import body as json_body
from tests.support.gateway.anthropic_bodies import (
    CACHED,
    CALL,
    CALLING,
    DOCUMENT,
    FORMAT,
    HELLO,
    IMAGE,
    PNG,
    SEARCH_RESULT,
    TOOL,
    assistant,
    body_with,
    chat_messages,
    chat_with,
    refusal,
    result,
    text,
    user,
)

# --- Refusals ------------------------------------------------------------------------------------

PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
CONTENT = {"type": "content", "content": "The grass is green."}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"model": None}, "model", "is missing: it must be a string"),
        ({"max_tokens": None}, "max_tokens", "is missing: it must be an integer from 1"),
        ({"messages": None}, "messages", "is missing"),
        ({"messages": []}, "messages", "that isn't empty"),
        ({"max_tokens": 0}, "max_tokens", "from 1 to"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0.role", "not tool"),
        ({"messages": [HELLO, {"role": "user"}]}, "messages.1.content", "is missing"),
        ({"messages": [user(text(""), {"type": "text"})]}, "messages.0.content.1.text", "missing"),
        ({"messages": [user(CALL)]}, "messages.0.content.0.type", "tool_result, not tool_use"),
        ({"messages": [assistant(IMAGE)]}, "messages.0.content.0.type", "not image"),
        ({"messages": [user({"type": "document"})]}, "messages.0.content.0.source", "missing"),
        (
            {"messages": [user({**DOCUMENT, "source": PDF})]},
            "messages.0.content.0.source",
            "send its text in a source of type text",
        ),
        (
            {"messages": [user({**DOCUMENT, "source": {"type": "url", "url": "https://a/b.pdf"}})]},
            "messages.0.content.0.source",
            "send its text",
        ),
        (
            {
                "messages": [
                    user({**DOCUMENT, "source": {"type": "content", "content": [DOCUMENT]}})
                ]
            },
            "messages.0.content.0.source.content.0.type",
            "text or image, not document",
        ),
        (
            {"messages": [user({**DOCUMENT, "citations": {"enabled": True}})]},
            "messages.0.content.0.citations.enabled",
            "makes no citations",
        ),
        (
            {"messages": [user({**SEARCH_RESULT, "citations": {"enabled": True}})]},
            "messages.0.content.0.citations.enabled",
            "makes no citations",
        ),
        (
            {"messages": [user({**SEARCH_RESULT, "content": [IMAGE]})]},
            "messages.0.content.0.content.0.type",
            "must be text, not image",
        ),
        (
            {"messages": [user({**SEARCH_RESULT, "source": None})]},
            "messages.0.content.0.source",
            "is missing",
        ),
        ({"messages": [assistant(DOCUMENT)]}, "messages.0.content.0.type", "not document"),
        ({"system": [SEARCH_RESULT]}, "system.0.type", "not search_result"),
        (
            {"messages": [user({"type": "server_tool_use"})]},
            "messages.0.content.0",
            "leave the block out",
        ),
        (
            {"messages": [user({"type": "web_search_tool_result"})]},
            "messages.0.content.0",
            "leave the block out",
        ),
        (
            {
                "messages": [
                    CALLING,
                    user(result([{**DOCUMENT, "source": {"type": "file", "file_id": "f"}}])),
                ]
            },
            "messages.1.content.0.content.0.source",
            "is a PDF or an uploaded file",
        ),
        (
            {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
            "messages.0.content.0.source",
            "as base64 or url",
        ),
        (
            {"messages": [user({"type": "image", "source": {**PNG, "data": "data:image/png"}})]},
            "messages.0.content.0.source.data",
            "without `data:`",
        ),
        (
            {"messages": [user({"type": "image", "source": {**PNG, "media_type": "image/bmp"}})]},
            "messages.0.content.0.source.media_type",
            "image/webp, not image/bmp",
        ),
        (
            {"messages": [HELLO, user(text("a"), result("b"))]},
            "messages.1.content.1.tool_use_id",
            "send that message too",
        ),
        ({"messages": [user(result("b")), CALLING]}, "messages.0.content.0.tool_use_id", "earlier"),
        ({"system": [text("a"), IMAGE]}, "system.1.type", "must be text, not image"),
        ({"system": 5}, "system", "a string or a list of blocks"),
        ({"tools": [TOOL, SEARCH]}, "tools.1", "one of Anthropic's own tools"),
        ({"tools": [{"name": "computer", "type": "computer_20250124"}]}, "tools.0", "leave it out"),
        ({"tools": [{"name": "sh", "type": "bash_20250124"}]}, "tools.0.name", "must be bash"),
        ({"tools": [{"type": "memory_20250818"}]}, "tools.0.name", "is missing"),
        ({"tools": [TOOL] * 1025}, "tools", "at most 1,024 items"),
        ({"stop_sequences": ["a"] * 17}, "stop_sequences", "at most 16 items"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools.0.name", "letters, digits"),
        ({"tools": [{"name": "a"}]}, "tools.0.input_schema", "is missing"),
        ({"tools": [{**TOOL, "type": 5}]}, "tools.0.type", "must be custom"),
        ({"tool_choice": {"type": "any"}}, "tool_choice", "there are no `tools`"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type", "auto, any, tool or none"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "find"}},
            "tool_choice.name",
            "isn't in `tools`",
        ),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "is missing"),
        ({"thinking": True}, "thinking", "an object with `type`"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort", "or max, not huge"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type", "not xml"),
        ({"stop_sequences": [""]}, "stop_sequences.0", "that isn't empty"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id", "must be a string"),
        ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers", "offer them as `tools`"),
        ({"provider": {"sort": "size"}}, "provider.sort", "price, throughput or latency"),
        ({"messages": [{"role": "system", "content": "x"}] * 2001}, "messages", "2,000 messages"),
    ],
)
def test_what_cannot_be_done_is_said_in_anthropics_terms(fields, param, said):
    error = refusal(body_with(**fields))
    assert error.param == param
    assert f"`{param}" in error.message
    assert said in error.message


@pytest.mark.parametrize(
    "thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}, False]
)
def test_no_conversation_is_kept_in_a_thread(thread):
    error = refusal(body_with(thread=thread, messages=[]))
    assert (error.param, error.code) == ("thread", "thread_unsupported_request")


def test_as_many_messages_as_kyma_takes():
    turns = [HELLO, {"role": "assistant", "content": "Hi"}] * (MAX_MESSAGES // 2)
    assert len(chat_messages(*turns)) == MAX_MESSAGES


# --- Counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 2),
        ({"system": "123"}, 2),
        ({"system": "1234"}, 3),
        ({"messages": [{"role": "user", "content": "€" * 4}]}, 3),
        ({"messages": [user(text("12345678"), IMAGE, IMAGE)]}, 2 + 2 * IMAGE_TOKENS),
        ({"max_tokens": None}, 2),
    ],
)
def test_tokens_are_counted(fields, expected):
    assert count_tokens(body_with(**fields)) == expected


def test_documents_and_search_results_count_with_all_that_is_told_of_them():
    small = count_tokens(body_with(messages=[user(DOCUMENT, SEARCH_RESULT)]))
    for name in ("title", "context"):
        larger = user({**DOCUMENT, name: "x" * 400}, SEARCH_RESULT)
        assert count_tokens(body_with(messages=[larger])) > small + 90
    source = {"type": "content", "content": [text("x" * 400), IMAGE]}
    larger = user({**DOCUMENT, "source": source}, SEARCH_RESULT)
    assert count_tokens(body_with(messages=[larger])) > small + 90 + IMAGE_TOKENS


def test_tools_count():
    size = len(orjson.dumps(chat_with(tools=[TOOL])["tools"])) + len("Hello")
    assert count_tokens(body_with(tools=[TOOL])) == -(-size // 4)


def test_only_what_could_be_asked_is_counted():
    error = refusal({"model": "best", "messages": [user({"type": "document"})]}, count_tokens)
    assert error.param == "messages.0.content.0.source"


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.InvalidRequest("Bad.", param="model"), "invalid_request_error"),
        (errors.Unauthenticated("Who?"), "authentication_error"),
        (errors.PaymentRequired("Pay.", metadata={"required": "1"}), "billing_error"),
        (errors.Forbidden("No."), "permission_error"),
        (errors.NotFound("Where?"), "not_found_error"),
        (errors.MethodNotAllowed("No."), "invalid_request_error"),
        (errors.BodyTimeout("Slow."), "invalid_request_error"),
        (errors.BodyTooLarge("Big."), "request_too_large"),
        (errors.Unprocessable("No."), "invalid_request_error"),
        (errors.TooManyRequests("Wait."), "rate_limit_error"),
        (errors.InternalError("Ours."), "api_error"),
        (errors.BadUpstream("Theirs."), "api_error"),
        (errors.Unavailable("Later."), "overloaded_error"),
        (errors.UpstreamTimeout("Late."), "timeout_error"),
    ],
)
def test_errors_have_anthropics_types(error, expected):
    body = orjson.loads(error_body(error, "req_1"))
    details = body["error"].pop("details")
    assert body == {
        "type": "error",
        "error": {"type": expected, "message": error.message},
        "request_id": "req_1",
    }
    assert details.pop("param", None) == error.param
    assert details == {"error_code": error.code, "error_type": error.error_type, **error.metadata}


# --- Whatever comes ------------------------------------------------------------------------------

KINDS = [
    *("text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "document"),
    *("search_result", "content", "text/plain"),
    *("base64", "url", "file", "custom", "auto", "any", "tool", "none", "enabled", "adaptive"),
    *("disabled", "json_schema", "web_search_20250305", "server_tool_use", ""),
]
KEYS = [
    *("type", "text", "source", "data", "media_type", "url", "id", "name", "input", "content"),
    *("tool_use_id", "is_error", "thinking", "signature", "cache_control", "input_schema", "role"),
    *("budget_tokens", "effort", "format", "schema", "user_id"),
    *("title", "context", "citations", "enabled"),
]
_leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 99),
    st.sampled_from(["t1", "search", "user", "assistant", "system", "image/png", "AAAA"]),
    st.sampled_from(KINDS),
    st.text(max_size=3),
)
_value = st.recursive(
    _leaf,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
WHOLE = body_with(
    system=[text("a", **CACHED)],
    messages=[
        user(text("a"), IMAGE),
        assistant({"type": "thinking", "thinking": "hm", "signature": "s"}, text("b"), CALL),
        user(result([text("c"), IMAGE, DOCUMENT], is_error=True), text("d"), SEARCH_RESULT),
    ],
    tools=[TOOL],
    tool_choice={"type": "tool", "name": "search", "disable_parallel_tool_use": True},
    thinking={"type": "enabled", "budget_tokens": 40},
    output_config={"effort": "low", "format": FORMAT},
    metadata={"user_id": "alice"},
    stop_sequences=["x"],
)


def places(value) -> list[tuple]:
    """Each container with each of its keys or indexes."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [one for key in keys for one in places(value[key])]


@st.composite
def mutated(draw) -> dict:
    body = json.loads(json.dumps(WHOLE))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(body) or [(body, "model")]))
        if draw(st.booleans()):
            container[key] = draw(_value)
        else:
            del container[key]
    return body


def understood(body: dict) -> None:
    chat_request.parse(chat_body(body))


@pytest.mark.parametrize("read", [understood, count_tokens])
@settings(max_examples=100)
@given(body=mutated() | st.dictionaries(st.sampled_from(sorted(CHECKS)), _value))
def test_whatever_comes_is_understood_or_refused_clearly(read, body):
    error = error_of(read, json_body.parse(orjson.dumps(body)))
    if error is not None:
        assert type(error) is InvalidRequest
        assert f"`{error.param}" in error.message
        assert error.param.split(".")[0] in CHECKS


def error_of(read: Callable[[dict], object], body: dict) -> GatewayError | None:
    try:
        read(body)
    except GatewayError as error:
        return error
    return None
