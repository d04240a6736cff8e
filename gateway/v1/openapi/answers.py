"""The schemas of models' answers at /v1, and of errors, by name.

Members that are always present are required. A provider's answer passes through as it came, so it
may have members that the schema doesn't name.
"""

from gateway.dialects.responses.caller_tools import CALLER_TOOLS
from gateway.wire.schema import (
    ANY_OBJECT,
    BOOLEAN,
    COUNT,
    ID,
    NULL,
    NUMBER,
    TEXT,
    Schema,
    array,
    choice,
    const,
    obj,
    or_null,
    ref,
    same,
)

USD: Schema = {"type": "number", "description": "Dollars, exact to the nano-dollar."}
THOUGHT = {
    "reasoning": {**or_null(TEXT), "description": "The model's thoughts."},
    "reasoning_content": {
        **or_null(TEXT),
        "description": "The model's thoughts, from providers that use this name.",
    },
}

# --- Answers of models ---------------------------------------------------------------------------

_FUNCTION_CALL = obj(
    {
        "id": TEXT,
        "type": const("function"),
        "function": obj({"name": TEXT, "arguments": TEXT}),
    },
    optional=("type",),
    additionalProperties=True,
)
_CUSTOM_CALL = obj(
    {"id": TEXT, "type": const("custom"), "custom": obj(same(TEXT, "name", "input"))},
    additionalProperties=True,
)
_TOOL_CALL: Schema = {"anyOf": [_FUNCTION_CALL, _CUSTOM_CALL]}
_CHOICE = obj(
    {
        "index": COUNT,
        "message": {
            "type": "object",
            "properties": {
                "role": const("assistant"),
                **same(or_null(TEXT), "content", "refusal"),
                **THOUGHT,
                "tool_calls": or_null(array(_TOOL_CALL)),
            },
            "additionalProperties": True,
        },
        **same(or_null(TEXT), "finish_reason", "native_finish_reason"),
        "logprobs": or_null(ANY_OBJECT),
    },
    optional=("index", "finish_reason", "native_finish_reason", "logprobs"),
    additionalProperties=True,
)
_TEXT_CHOICE = obj(
    {
        "index": COUNT,
        "text": TEXT,
        **same(or_null(TEXT), "finish_reason", "native_finish_reason"),
        "logprobs": or_null(ANY_OBJECT),
    },
    optional=("index", "finish_reason", "native_finish_reason", "logprobs"),
    additionalProperties=True,
)
_BASE64 = {"type": "string", "contentEncoding": "base64"}
IDENTITY = {"created": COUNT, "model": TEXT, "provider": TEXT}
MESSAGE_COUNTS = same(
    COUNT,
    *("input_tokens", "output_tokens"),
    *("cache_creation_input_tokens", "cache_read_input_tokens"),
)
MESSAGE_USAGE = obj(
    {**MESSAGE_COUNTS, "output_tokens_details": obj({"thinking_tokens": COUNT}), "cost": USD}
)
MESSAGE_BLOCK = {
    "anyOf": [
        obj({"type": const("text"), "text": TEXT}),
        obj({"type": const("thinking"), "thinking": TEXT, "signature": TEXT}),
        obj({"type": const("tool_use"), **same(TEXT, "id", "name"), "input": ANY_OBJECT}),
    ]
}
STOP_REASON = choice("end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal")

_ANSWERS: dict[str, Schema] = {
    "Usage": obj(
        {
            **same(COUNT, "prompt_tokens", "completion_tokens", "total_tokens"),
            "prompt_tokens_details": obj({"cached_tokens": COUNT}),
            "completion_tokens_details": obj({"reasoning_tokens": COUNT}),
            "cost": USD,
            "is_byok": BOOLEAN,
        }
    ),
    "ChatCompletion": obj(
        {
            "id": TEXT,
            "object": const("chat.completion"),
            **IDENTITY,
            "choices": array(_CHOICE, minItems=1),
            "usage": ref("Usage"),
        },
        additionalProperties=True,
    ),
    "TextCompletion": obj(
        {
            "id": TEXT,
            "object": const("text_completion"),
            **IDENTITY,
            "choices": array(_TEXT_CHOICE, minItems=1),
            "usage": ref("Usage"),
        },
        additionalProperties=True,
    ),
    "Embeddings": obj(
        {
            "object": const("list"),
            **same(TEXT, "id", "model", "provider"),
            "data": array(
                obj(
                    {
                        "object": const("embedding"),
                        "index": COUNT,
                        "embedding": {"anyOf": [array(NUMBER, minItems=1), _BASE64]},
                    }
                )
            ),
            "usage": obj({**same(COUNT, "prompt_tokens", "total_tokens"), "cost": USD}),
        }
    ),
    "Message": obj(
        {
            "id": TEXT,
            "type": const("message"),
            "role": const("assistant"),
            "model": TEXT,
            "content": array(MESSAGE_BLOCK),
            "stop_reason": STOP_REASON,
            "stop_sequence": or_null(TEXT),
            "usage": MESSAGE_USAGE,
        }
    ),
    "TokenCount": obj({"input_tokens": COUNT}),
}

# --- Responses -----------------------------------------------------------------------------------

OUTPUT_PART = {
    "anyOf": [
        obj(
            {
                "type": const("output_text"),
                "text": TEXT,
                **same(array(ANY_OBJECT), "annotations", "logprobs"),
            }
        ),
        obj({"type": const("refusal"), "refusal": TEXT}),
    ],
}
REASONING_PART = obj({"type": const("reasoning_text"), "text": TEXT})
SUMMARY_PART = obj({"type": const("summary_text"), "text": TEXT})


def output_item(*statuses: str) -> Schema:
    """Return the schema of one item of a response's output."""
    status = choice(*statuses)
    members: list[dict[str, Schema]] = [
        {
            "type": const("message"),
            "id": TEXT,
            "role": const("assistant"),
            "status": status,
            "content": array(OUTPUT_PART),
        },
        {
            "type": const("function_call"),
            **same(TEXT, "id", "call_id", "name", "namespace", "arguments"),
            "status": status,
        },
        {
            "type": const("custom_tool_call"),
            **same(TEXT, "id", "call_id", "name", "namespace", "input"),
            "status": status,
        },
        *(
            {
                "type": const(f"{kind}_call"),
                **same(TEXT, "id", "call_id"),
                tool.member: ANY_OBJECT,
                "status": choice(*dict.fromkeys([*statuses, tool.cut_off])),
            }
            for kind, tool in CALLER_TOOLS.items()
        ),
        {
            "type": const("reasoning"),
            "id": TEXT,
            "summary": array(SUMMARY_PART),
            "content": array(REASONING_PART),
            "encrypted_content": TEXT,
        },
    ]
    return {"anyOf": [obj(one, optional=("namespace", "encrypted_content")) for one in members]}


_RESPONSES_USAGE = obj(
    {
        **same(COUNT, "input_tokens", "output_tokens", "total_tokens"),
        "input_tokens_details": obj(same(COUNT, "cached_tokens", "cache_write_tokens")),
        "output_tokens_details": obj({"reasoning_tokens": COUNT}),
        "cost": USD,
    }
)
_CUT_OFF = obj({"reason": choice("max_output_tokens", "content_filter")})
_HEAD = {"id": TEXT, "object": const("response"), "created_at": COUNT, "model": TEXT}
_ECHO = {
    "background": const(False),
    "store": const(False),
    "previous_response_id": NULL,
    "max_tool_calls": NULL,
    **same(or_null(TEXT), "instructions", "prompt_cache_key", "safety_identifier", "user"),
    **same(or_null(NUMBER), "temperature", "top_p"),
    "max_output_tokens": or_null(COUNT),
    "metadata": ANY_OBJECT,
    "parallel_tool_calls": BOOLEAN,
    "reasoning": obj(same(or_null(TEXT), "effort", "summary")),
    "service_tier": const("default"),
    "text": ANY_OBJECT,
    "tool_choice": {"anyOf": [TEXT, ANY_OBJECT]},
    "tools": array(ANY_OBJECT),
    "top_logprobs": COUNT,
    "truncation": const("disabled"),
}
_FINISHED = {
    "status": choice("completed", "incomplete"),
    "error": NULL,
    "incomplete_details": or_null(_CUT_OFF),
    "output": array(output_item("completed", "incomplete")),
    "usage": _RESPONSES_USAGE,
}
_RUNNING = {
    "status": const("in_progress"),
    **same(NULL, "error", "incomplete_details", "usage"),
    "output": array(ANY_OBJECT, maxItems=0),
}
_FAILED = {
    "status": const("failed"),
    "error": obj({**same(TEXT, "code", "message", "type"), "param": or_null(TEXT)}),
    **same(NULL, "incomplete_details", "usage"),
    "output": array(output_item("completed", "incomplete")),
}
_RESPONSES: dict[str, Schema] = {
    "Response": obj(_HEAD | _FINISHED | _ECHO),
    "RunningResponse": obj(_HEAD | _RUNNING | _ECHO),
    "FailedResponse": obj(_HEAD | _FAILED | _ECHO),
}

# --- Errors --------------------------------------------------------------------------------------

ERROR_METADATA = obj({"error_type": TEXT}, additionalProperties=True)
ANTHROPIC_ERROR = obj(
    {
        **same(TEXT, "type", "message"),
        "details": obj(same(TEXT, "error_code", "error_type"), additionalProperties=True),
    }
)
_ERRORS: dict[str, Schema] = {
    "Error": obj(
        {
            "error": obj(
                {
                    "message": TEXT,
                    "type": TEXT,
                    "param": or_null(TEXT),
                    "code": TEXT,
                    "metadata": ERROR_METADATA,
                }
            ),
            "request_id": or_null(ID),
        }
    ),
    "AnthropicError": obj(
        {
            "type": const("error"),
            "error": ANTHROPIC_ERROR,
            "request_id": or_null(ID),
        }
    ),
}

_DOCUMENT = obj(
    {"openapi": TEXT, **same(ANY_OBJECT, "info", "paths", "components")},
    additionalProperties=True,
)

SCHEMAS: dict[str, Schema] = _ANSWERS | _RESPONSES | {"OpenapiDocument": _DOCUMENT} | _ERRORS
