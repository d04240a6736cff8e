"""The schemas of request bodies at /v1, by name, made from the checks of each body.

A request may leave out `model` if it has `models`. The schemas still require `model`, because
clients expect that.
"""

from gateway.dialects import embeddings as embedding_request
from gateway.dialects import text as text_request
from gateway.dialects.anthropic import fields as anthropic_fields
from gateway.dialects.chat import request as chat_request
from gateway.dialects.responses import request as responses_request
from gateway.keys import fields as key_fields
from gateway.wire.checks import Check, object_of, schema_of
from gateway.wire.schema import Schema, or_null


def _key(*required: str) -> Schema:
    members = {
        name: schema_of(check) if name in key_fields.NEVER_NULL else or_null(schema_of(check))
        for name, check in key_fields.CHECKS.items()
    }
    schema = {"type": "object", "properties": members, "additionalProperties": False}
    return schema | ({"required": list(required)} if required else {})


CHECKS: dict[str, Check] = {
    "ChatRequest": chat_request.TABLE.check,
    "TextRequest": text_request.TABLE.check,
    "EmbeddingRequest": embedding_request.TABLE.check,
    "MessagesRequest": object_of(anthropic_fields.CHECKS, required=anthropic_fields.NEEDED),
    "CountRequest": object_of(anthropic_fields.CHECKS, required=anthropic_fields.NEEDED_TO_COUNT),
    "ResponsesRequest": object_of(responses_request.FIELDS, required=("model", "input")),
}
SCHEMAS: dict[str, Schema] = {
    **{name: schema_of(check) for name, check in CHECKS.items()},
    "KeyRequest": _key("name"),
    "KeyChanges": _key(),
}

_MODEL = "smollm2-135m"
_QUESTION = "What is the capital of Japan?"
_ASKED = [{"role": "user", "content": _QUESTION}]

# An example of each body, which works as it is.
EXAMPLES: dict[str, dict] = {
    "ChatRequest": {"model": _MODEL, "messages": _ASKED},
    "TextRequest": {"model": _MODEL, "prompt": "The capital of Japan is", "max_tokens": 16},
    "EmbeddingRequest": {"model": _MODEL, "input": ["Tokyo", "Kyoto"]},
    "MessagesRequest": {"model": _MODEL, "max_tokens": 64, "messages": _ASKED},
    "CountRequest": {"model": _MODEL, "messages": _ASKED},
    "ResponsesRequest": {"model": _MODEL, "input": _QUESTION},
    "KeyRequest": {"name": "CI", "caps": {"day": "0.50", "total": 20}},
    "KeyChanges": {"requests_per_minute": 20},
}
