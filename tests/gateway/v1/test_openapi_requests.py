"""The schema of a body in the document takes what the gateway's own checks take, and no more."""

import copy
from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.keys import fields as key_fields
from gateway.v1.openapi.document import document
from gateway.v1.openapi.requests import CHECKS, EXAMPLES, SCHEMAS
from gateway.wire.checks import Mismatch
from tests.gateway.dialects.test_body_fuzz import WHOLE, mutate
from tests.support.counts import counts
from tests.support.gateway import anthropic_bodies, responses_bodies, tools_of_agents
from tests.support.gateway.chat_bodies import GIVEN, NEVER_FORWARDED, PIXEL

SAMPLED = ("temperature", "top_p", "stop", "seed", "logit_bias", "min_p", "frequency_penalty")
WISHES = {name: NEVER_FORWARDED[name] for name in ("provider", "models", "plugins", "session_id")}
MESSAGES = {
    "model": "best",
    "max_tokens": 50,
    "system": [anthropic_bodies.text("Be brief.", **anthropic_bodies.CACHED)],
    "messages": [
        anthropic_bodies.user(
            anthropic_bodies.text("See"),
            anthropic_bodies.IMAGE,
            {**anthropic_bodies.DOCUMENT, "citations": {"enabled": False}},
        ),
        anthropic_bodies.assistant(
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            anthropic_bodies.CALL,
        ),
        anthropic_bodies.user(
            anthropic_bodies.result(
                [anthropic_bodies.text("found"), anthropic_bodies.SEARCH_RESULT]
            )
        ),
    ],
    "tools": [anthropic_bodies.TOOL, {**anthropic_bodies.TOOL, "type": "custom", "strict": True}],
    "tool_choice": {"type": "tool", "name": "search", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 100},
    "output_config": {"effort": "max", "format": anthropic_bodies.FORMAT},
    "mcp_servers": [],
    "stop_sequences": ["END"],
    **WISHES,
}
RESPONSES = {
    "model": "best",
    "instructions": "Be brief.",
    "input": [
        responses_bodies.USER,
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "See"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]},
        responses_bodies.THOUGHT,
        responses_bodies.ANSWER,
        responses_bodies.CALL,
        responses_bodies.OUTPUT,
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "Done."},
    ],
    "tools": [responses_bodies.TOOL, responses_bodies.OTHER_TOOL, tools_of_agents.PATCH],
    "tool_choice": {"type": "function", "name": "search"},
    "reasoning": {"effort": "max", "summary": "auto"},
    "text": {"format": responses_bodies.FORMAT, "verbosity": "low"},
    "store": False,
    "background": None,
    "previous_response_id": None,
    "metadata": {"a": "b"},
    **WISHES,
}
TEXT = {
    **EXAMPLES["TextRequest"],
    **{name: GIVEN[name] for name in SAMPLED},
    **WISHES,
    "best_of": 1,
    "echo": True,
    "suffix": "x",
}
EMBEDDINGS = {**EXAMPLES["EmbeddingRequest"], **WISHES, "dimensions": 8}
CUSTOM = {
    **EXAMPLES["ChatRequest"],
    "messages": [
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "x"}},
                {"id": "c2", "function": {"name": "search", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Done."},
    ],
    "tools": [
        {
            "type": "custom",
            "custom": {
                "name": "patch",
                "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a"}},
            },
        },
        {"type": "custom", "custom": {"name": "note", "format": {"type": "text"}}},
    ],
    "tool_choice": {"type": "custom", "custom": {"name": "note"}},
}
BODIES: dict[str, list[dict]] = {
    "ChatRequest": [WHOLE, CUSTOM],
    "TextRequest": [TEXT, {**TEXT, "prompt": [1, 2]}],
    "EmbeddingRequest": [EMBEDDINGS, {**EMBEDDINGS, "input": [[1], [2, 3]]}],
    "MessagesRequest": [MESSAGES],
    "CountRequest": [MESSAGES],
    "ResponsesRequest": [RESPONSES],
}
KEYS = {
    "name": "CI",
    "caps": {"day": "0.50", "total": 20},
    "expires_at": "2130-01-31T12:00:00Z",
    "allowed_models": ["a"],
    "allowed_networks": ["192.0.2.0/24"],
    "requests_per_minute": 5,
    "retention_days": 7,
    "disabled": False,
}


def validator(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **SCHEMAS[name]}
    )


@st.composite
def mutated(draw, bodies: list[dict]) -> dict:
    """One of the bodies, changed in a place or two, as JSON that can be sent."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 2))):
        mutate(draw, body)
    try:
        sent = orjson.loads(orjson.dumps(body))
    except (TypeError, RecursionError):
        assume(False)
    return as_integers(sent)


def as_integers(value: Any) -> Any:
    """JSON without 1.0, which JSON Schema takes for an integer, and Kyma doesn't."""
    if isinstance(value, float) and value.is_integer():
        return int(value) if abs(value) < 2**53 else 0.5
    if isinstance(value, list):
        return [as_integers(one) for one in value]
    if isinstance(value, dict):
        return {name: as_integers(one) for name, one in value.items()}
    return value


def is_taken(name: str, body: dict) -> bool:
    try:
        CHECKS[name](body)
    except Mismatch:
        return False
    return True


def has_tools_to_leave_out(body: dict) -> bool:
    """Whether agents offer tools here that Kyma takes and leaves out: the document doesn't."""
    tools = body.get("tools")
    kinds = [one.get("type") for one in tools if type(one) is dict] if type(tools) is list else []
    return any(
        type(kind) is str and kind.strip() and kind not in ("function", "custom") for kind in kinds
    )


@pytest.mark.parametrize("examples", counts(60, proof=600, endurance=2000))
@pytest.mark.parametrize("name", BODIES)
def test_the_schema_takes_what_the_checks_take(name, examples):
    schema = validator(name)
    for body in BODIES[name]:
        assert is_taken(name, body)
        schema.validate(body)

    @settings(max_examples=examples)
    @given(body=mutated(BODIES[name]))
    def they_agree(body: dict) -> None:
        if not (name == "ResponsesRequest" and has_tools_to_leave_out(body)):
            assert schema.is_valid(body) == is_taken(name, body)

    they_agree()


@pytest.mark.parametrize("examples", counts(60, proof=600, endurance=2000))
def test_the_schema_of_a_key_takes_what_is_taken(examples):
    schema = validator("KeyRequest")
    schema.validate(KEYS)

    @settings(max_examples=examples)
    @given(body=mutated([KEYS, {"name": "CI", "limit": "5", "limit_reset": "daily"}]))
    def what_is_taken_is_valid(body: dict) -> None:
        try:
            key_fields.parse(body, new=True)
        except InvalidRequest:
            return
        schema.validate(body)

    what_is_taken_is_valid()


def test_each_example_is_what_it_is_an_example_of():
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            body = operation.get("requestBody")
            if body is not None:
                content = body["content"]["application/json"]
                name = content["schema"]["$ref"].rpartition("/")[2]
                assert validator(name).is_valid(content["example"]), path
