"""The document at /v1/openapi.json: the requests and answers of /v1 in OpenAPI 3.1.

The schemas of requests come from the checks of their bodies (`requests`), the schemas of answers
from `answers`, `events` and `objects`. Each process builds the document once.
"""

import functools
from typing import Any

import orjson

from gateway.catalogue import claude_code
from gateway.serving.idempotency import LONGEST_KEY
from gateway.v1 import model_query
from gateway.v1.key_views import MAX_PAGE
from gateway.v1.openapi import answers, events, objects, requests
from gateway.wire.checks import schema_of
from gateway.wire.query import MAX_OFFSET
from gateway.wire.schema import ID, INTEGER, TEXT, Schema, ref

# The meaning of each status. gateway/errors.py has the exceptions that lead to them.
ERRORS = {
    400: "The request must be changed; `param` names the field.",
    401: "There is no key, or it isn't valid.",
    402: "The credit or a cap of the key is too low; `metadata` says what would fit.",
    403: "The account or the key may not do this.",
    404: "The account has no such object, or no route fits the request.",
    408: "The body didn't arrive in time.",
    409: "A request with this Idempotency-Key is still running, or its answer wasn't kept.",
    413: "The body is too large, or asks for more tokens than the account may use per request.",
    415: "The body isn't JSON, or is compressed.",
    422: "Each field is valid, but they don't fit together.",
    429: "A rate limit is reached, here or at all providers; `Retry-After` says when to ask again.",
    500: "Kyma failed.",
    502: "The provider failed.",
    503: "No answer is possible right now; `Retry-After` says when to ask again.",
    504: "The provider didn't answer in time.",
}
_KEYS: list[dict[str, list]] = [{"bearer": []}, {"apiKey": []}]
_OF_PUBLIC = (500, 503)
_OF_READS = (401, 403, 429, *_OF_PUBLIC)
_OF_BODIES = (400, 408, 413, 415, *_OF_READS)
_OF_PROVIDERS = (400, 403, 413, 422, 429, 502, 503, 504)
_OF_ANSWERS = (402, 404, 409, 422, 502, 504, *_OF_BODIES)

_WITH_ANSWERS: dict[str, dict[str, Any]] = {
    "x-request-id": {"description": "The id of this request.", "required": True, "schema": ID},
    "X-Generation-Id": {"description": "The id of the answer.", "schema": TEXT},
    "x-kyma-model": {"description": "The model that answered.", "schema": TEXT},
    "x-kyma-alias": {"description": "The alias that was resolved.", "schema": TEXT},
    "x-kyma-provider": {"description": "The provider that answered.", "schema": TEXT},
    "x-kyma-attempts": {"description": "How many routes were tried.", "schema": INTEGER},
    "x-kyma-overhead-ms": {"description": "Time spent in Kyma.", "schema": {"type": "number"}},
    "x-kyma-cost": {"description": "In USD; not on streams.", "schema": {"type": "number"}},
    "idempotent-replayed": {"description": "A repeated answer.", "schema": {"const": "true"}},
}
_WITH_ERRORS: dict[str, dict[str, Any]] = {
    "Retry-After": {"description": "Seconds.", "schema": {**INTEGER, "minimum": 1, "maximum": 60}},
    "retry-after-ms": {"description": "Milliseconds.", "schema": INTEGER},
    "x-should-retry": {
        "description": "Says if asking again may help.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}
_RATES = {
    f"x-ratelimit-{what}-{of}": {
        "description": "Time to the full limit: 1m0s." if what == "reset" else "Per minute.",
        "schema": TEXT if what == "reset" else INTEGER,
    }
    for of in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
}
_ANTHROPIC_RATES = {
    f"anthropic-ratelimit-{of}-{what}": {
        "description": "Time of the full limit." if what == "reset" else "Per minute.",
        "schema": {**TEXT, "format": "date-time"} if what == "reset" else INTEGER,
    }
    for of in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
}
HEADERS = _WITH_ANSWERS | _WITH_ERRORS | _RATES | _ANTHROPIC_RATES

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "If the request is sent again with the same key within a day, its answer is "
    "repeated.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
}
_MODEL_NAMES = {
    "name": claude_code.HEADER,
    "in": "header",
    "description": f"`{claude_code.HEADER_VALUE}` requests names that Claude Code's picker takes.",
    "schema": TEXT,
}
_SESSION = {
    "name": "x-session-id",
    "in": "header",
    "description": "The name of a conversation. Its requests go to one provider, whose prompt "
    "cache they use.",
    "schema": TEXT,
}


# --- Operations ----------------------------------------------------------------------------------


def _headers(*names: str) -> dict:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _json(schema: Schema, **more: Any) -> dict:
    return {"application/json": {"schema": schema, **more}}


def _operation(
    name: str,
    tag: str,
    summary: str,
    answer: str,
    *,
    errors: tuple[int, ...],
    body: str = "",
    parameters: tuple[dict, ...] = (),
    status: int = 200,
    streams: str = "",
    anthropic: bool = False,
) -> dict:
    content = _json(ref(answer))
    if streams:
        content["text/event-stream"] = {"schema": events.event_of(streams)}
    is_of_model = _IDEMPOTENCY_KEY in parameters
    rates = _RATES | _ANTHROPIC_RATES if anthropic else _RATES
    own = _WITH_ANSWERS if is_of_model else ("x-request-id",)
    headers = _headers(*own, *(rates if 429 in errors else ()))
    told = "The answer" + ("; with `stream`, events that each have the schema." if streams else ".")
    success = {"description": told, "headers": headers, "content": content}
    kind = "AnthropicError" if anthropic else "Error"
    refusals = {
        str(code): {"$ref": f"#/components/responses/{kind}{code}"} for code in sorted(errors)
    }
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "responses": {str(status): success, **refusals},
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        example = requests.EXAMPLES[body]
        operation["requestBody"] = {"required": True, "content": _json(ref(body), example=example)}
    return operation


def _answering(name: str, summary: str, body: str, answer: str, **more: Any) -> dict:
    """Return an operation that a model answers."""
    return _operation(
        name,
        "Answers",
        summary,
        answer,
        body=body,
        errors=_OF_ANSWERS,
        parameters=(_IDEMPOTENCY_KEY, _SESSION),
        **more,
    )


def _reading(name: str, tag: str, summary: str, answer: str, *errors: int, **more: Any) -> dict:
    """Return an operation that needs a key and asks no model."""
    return _operation(name, tag, summary, answer, errors=(*errors, *_OF_READS), **more)


def _public(name: str, summary: str, answer: str) -> dict:
    operation = _operation(name, "Public", summary, answer, errors=_OF_PUBLIC)
    return {**operation, "security": []}


def _query(name: str, description: str, schema: Schema, *, required: bool = False) -> dict:
    place = {"name": name, "in": "query", "required": required}
    return {**place, "description": description, "schema": schema}


def _in_path(name: str, description: str, schema: Schema) -> dict:
    place = {"name": name, "in": "path", "required": True}
    return {**place, "description": description, "schema": schema}


def _pages_of(most: int) -> tuple[dict, dict]:
    return (
        _query("offset", "Items to skip.", {**INTEGER, "minimum": 0, "maximum": MAX_OFFSET}),
        _query("limit", "Items at most.", {**INTEGER, "minimum": 1, "maximum": most}),
    )


_MODEL = _in_path(
    "model",
    "An id or an alias from GET /v1/models, or another name of a model.",
    {**TEXT, "minLength": 1},
)
_HASH = _in_path("hash", "The `hash` of a key.", {**TEXT, "pattern": "^[0-9a-f]{32}$"})
_FILTERS = (
    _query("supported_parameters", "Models must support all of these: tools,reasoning.", TEXT),
    _query("output_modalities", "Models must output one of these: text,embeddings.", TEXT),
    _query("sort", "The order; models without the figure come last.", schema_of(model_query.SORT)),
    *_pages_of(model_query.MAX_PAGE),
    _query("after_id", "The page begins after this model (for Anthropic's packages).", TEXT),
    _query("before_id", "The page ends before this model (for Anthropic's packages).", TEXT),
)
_GENERATION = _query(
    "id", "The id of an answer, or its x-request-id.", {**TEXT, "minLength": 1}, required=True
)

_ANSWER_PATHS = {
    "/v1/chat/completions": {
        "post": _answering(
            "createChatCompletion",
            "Answer a conversation (OpenAI Chat Completions)",
            "ChatRequest",
            "ChatCompletion",
            streams="ChatChunk",
        )
    },
    "/v1/completions": {
        "post": _answering(
            "createCompletion",
            "Continue a prompt (OpenAI Completions)",
            "TextRequest",
            "TextCompletion",
            streams="TextChunk",
        )
    },
    "/v1/embeddings": {
        "post": _answering(
            "createEmbeddings",
            "Turn texts into vectors (OpenAI Embeddings)",
            "EmbeddingRequest",
            "Embeddings",
        )
    },
    "/v1/responses": {
        "post": _answering(
            "createResponse",
            "Answer a conversation (OpenAI Responses, stateless)",
            "ResponsesRequest",
            "Response",
            streams="ResponseEvent",
        )
    },
    "/v1/messages": {
        "post": _answering(
            "createMessage",
            "Answer a conversation (Anthropic Messages)",
            "MessagesRequest",
            "Message",
            streams="MessageEvent",
            anthropic=True,
        )
    },
    "/v1/messages/count_tokens": {
        "post": _operation(
            "countTokens",
            "Answers",
            "Estimate the tokens of a Messages request, at no charge",
            "TokenCount",
            body="CountRequest",
            errors=(404, 422, *_OF_BODIES),
            anthropic=True,
        )
    },
}
_ACCOUNT_PATHS = {
    "/v1/models": {
        "get": {
            **_reading(
                "listModels",
                "Models",
                "List the models and aliases that the key, or a new account, can use",
                "ModelList",
                400,
                parameters=(_MODEL_NAMES, *_FILTERS),
            ),
            "security": [{}, *_KEYS],
        }
    },
    "/v1/models/{model}": {
        "get": _reading(
            "getModel",
            "Models",
            "Show one model, or what an alias means now",
            "Model",
            404,
            parameters=(_MODEL,),
        )
    },
    "/v1/generation": {
        "get": _reading(
            "getGeneration",
            "Account",
            "Show what one request cost, with its signed receipt",
            "Generation",
            *(400, 404),
            parameters=(_GENERATION,),
        )
    },
    "/v1/credits": {
        "get": _reading("getCredits", "Account", "Show all credit bought and used", "Credits")
    },
    "/v1/credits/balance": {
        "get": _reading("getBalance", "Account", "Show the credit that is left", "Balance")
    },
    "/v1/auth/limits": {
        "get": _reading("getLimits", "Account", "Show the limits of account and key", "Limits")
    },
    "/v1/key": {"get": _reading("getOwnKey", "Keys", "Show the caller's own key", "KeyAnswer")},
    "/v1/keys": {
        "get": _reading(
            "listKeys",
            "Keys",
            "List the keys of the account (management key)",
            "KeyList",
            400,
            parameters=(
                _query("include_disabled", "List disabled keys too.", {"type": "boolean"}),
                *_pages_of(MAX_PAGE),
            ),
        ),
        "post": _operation(
            "createKey",
            "Keys",
            "Make a key, whose text is shown once (management key)",
            "NewKey",
            body="KeyRequest",
            status=201,
            errors=_OF_BODIES,
        ),
    },
    "/v1/keys/{hash}": {
        "get": _reading(
            "getKey", "Keys", "Show a key (management key)", "KeyAnswer", 404, parameters=(_HASH,)
        ),
        "patch": _operation(
            "changeKey",
            "Keys",
            "Change the rules of a key (management key)",
            "KeyAnswer",
            body="KeyChanges",
            errors=(404, *_OF_BODIES),
            parameters=(_HASH,),
        ),
        "delete": _reading(
            "revokeKey",
            "Keys",
            "Revoke a key for good (management key)",
            "KeyRevoked",
            404,
            parameters=(_HASH,),
        ),
    },
}
_PUBLIC_PATHS = {
    "/v1/credits/pricing": {"get": _public("getPrices", "List the prices of all models", "Prices")},
    "/v1/limits/tiers": {"get": _public("getTiers", "List the tiers and their limits", "Tiers")},
    "/v1/providers": {
        "get": _public("getProviders", "List the providers and their retention", "Providers")
    },
    "/v1/receipts/keys": {
        "get": _public("getReceiptKeys", "List the keys that verify receipts", "ReceiptKeys")
    },
    "/v1/openapi.json": {"get": _public("getOpenapi", "Describe this API", "OpenapiDocument")},
}


# --- The document --------------------------------------------------------------------------------


_SCHEMAS = requests.SCHEMAS | answers.SCHEMAS | events.SCHEMAS | objects.SCHEMAS


def _error(kind: str, status: int) -> dict:
    names = ["x-request-id", "x-should-retry"]
    if status in _OF_PROVIDERS:
        names.append("x-kyma-attempts")
    if status in (409, 429, 503):
        names.append("Retry-After")
    if status == 429:
        names += ["retry-after-ms", *_RATES]
        names += _ANTHROPIC_RATES if kind == "AnthropicError" else ()
    return {
        "description": ERRORS[status],
        "headers": _headers(*names),
        "content": _json(ref(kind)),
    }


def document() -> dict:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kyma",
            "version": "1",
            "description": "A gateway to open-source AI models for OpenAI's and Anthropic's "
            "clients. Fields that aren't named here are accepted, except at /v1/keys; `null` is "
            "the same as leaving a field out. Integers are written without a fraction (1, not "
            "1.0) and must fit 64 bits.",
        },
        "servers": [{"url": "/"}],
        "security": _KEYS,
        "tags": [{"name": name} for name in ("Answers", "Models", "Account", "Keys", "Public")],
        "paths": _ANSWER_PATHS | _ACCOUNT_PATHS | _PUBLIC_PATHS,
        "components": {
            "schemas": _SCHEMAS,
            "headers": HEADERS,
            "responses": {
                f"{kind}{status}": _error(kind, status)
                for kind in ("Error", "AnthropicError")
                for status in ERRORS
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "kyma-…"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


@functools.cache
def as_bytes() -> bytes:
    return orjson.dumps(document())
