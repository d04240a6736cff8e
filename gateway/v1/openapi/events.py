"""The schemas of streamed answers at /v1: each describes the data of one event, by name.

OpenAPI 3.1 can't describe a stream of events. `event_of` describes a single event, as OpenAPI 3.2
does, and the description of each schema says how its stream ends.
"""

from gateway.v1.openapi.answers import (
    ANTHROPIC_ERROR,
    ERROR_METADATA,
    IDENTITY,
    MESSAGE_BLOCK,
    MESSAGE_COUNTS,
    MESSAGE_USAGE,
    OUTPUT_PART,
    REASONING_PART,
    STOP_REASON,
    SUMMARY_PART,
    THOUGHT,
    output_item,
)
from gateway.wire.schema import (
    COUNT,
    INTEGER,
    NULL,
    TEXT,
    Schema,
    array,
    const,
    obj,
    or_null,
    ref,
    same,
)

_CHUNKED = (
    "A complete stream ends with an event whose data is `[DONE]`. A stream that broke off ends "
    "with a chunk that has `error`."
)
_NAMED = "The name of the event is its `type`. "


def event_of(name: str) -> Schema:
    """Return the schema of one event, whose data has the schema `name`."""
    written: Schema = {**TEXT, "contentMediaType": "application/json", "contentSchema": ref(name)}
    if name in _CHUNKS:
        members: dict[str, Schema] = {"data": {"anyOf": [written, const("[DONE]")]}}
    else:
        members = {"event": TEXT, "data": written}
    return obj(
        members, description="One event. Lines that begin with a colon keep the connection alive."
    )


# --- Chunks, which pass through as they came -----------------------------------------------------

_FRAGMENT = obj(
    {
        "index": COUNT,
        **same(or_null(TEXT), "id", "type"),
        "function": obj(
            same(or_null(TEXT), "name", "arguments"),
            optional=("name", "arguments"),
            additionalProperties=True,
        ),
        "custom": obj(same(TEXT, "name", "input"), description="A whole call of a custom tool."),
    },
    optional=("index", "id", "type", "function", "custom"),
    additionalProperties=True,
)
_DELTA = {
    "type": "object",
    "properties": {
        "role": const("assistant"),
        **same(or_null(TEXT), "content", "refusal"),
        **THOUGHT,
        "tool_calls": or_null(array(_FRAGMENT)),
    },
    "additionalProperties": True,
}
_FAILURE = obj(
    {
        **same(TEXT, "message", "type"),
        "param": or_null(TEXT),
        "code": {**INTEGER, "description": "The HTTP status that the error would have had."},
        "metadata": ERROR_METADATA,
    }
)


def _chunk(kind: str, said: dict[str, Schema]) -> Schema:
    reasons = same(or_null(TEXT), "finish_reason", "native_finish_reason")
    choice = obj(
        {"index": COUNT, **said, **reasons},
        optional=("index", *reasons),
        additionalProperties=True,
    )
    return obj(
        {
            "id": TEXT,
            "object": const(kind),
            **IDENTITY,
            "choices": array(choice),
            "usage": {"anyOf": [ref("Usage"), NULL]},
            "error": _FAILURE,
        },
        optional=("usage", "error"),
        additionalProperties=True,
        description=_CHUNKED,
    )


# --- Messages ------------------------------------------------------------------------------------

_BLOCK_DELTA = {
    "anyOf": [
        obj({"type": const("text_delta"), "text": TEXT}),
        obj({"type": const("thinking_delta"), "thinking": TEXT}),
        obj({"type": const("signature_delta"), "signature": TEXT}),
        obj({"type": const("input_json_delta"), "partial_json": TEXT}),
    ]
}
_BEGUN = obj(
    {
        **same(TEXT, "id", "model"),
        "type": const("message"),
        "role": const("assistant"),
        "content": array(MESSAGE_BLOCK, maxItems=0),
        **same(NULL, "stop_reason", "stop_sequence"),
        "usage": obj(MESSAGE_COUNTS),
    }
)
_END = obj({"stop_reason": STOP_REASON, "stop_sequence": or_null(TEXT)})
_MESSAGE_EVENTS: dict[str, dict[str, Schema]] = {
    "message_start": {"message": _BEGUN},
    "content_block_start": {"index": COUNT, "content_block": MESSAGE_BLOCK},
    "content_block_delta": {"index": COUNT, "delta": _BLOCK_DELTA},
    "content_block_stop": {"index": COUNT},
    "message_delta": {"delta": _END, "usage": MESSAGE_USAGE},
    "message_stop": {},
    "ping": {},
    "error": {"error": ANTHROPIC_ERROR},
}

# --- Responses -----------------------------------------------------------------------------------

_PLACE = {"item_id": TEXT, "output_index": COUNT}
_WITHIN = {**_PLACE, "content_index": COUNT}
_SUMMARIZED = {**_PLACE, "summary_index": COUNT}
_PART = {"part": {"anyOf": [*OUTPUT_PART["anyOf"], REASONING_PART]}}
_LOGPROBS = array(obj({}, additionalProperties=True))


def _item_of(*statuses: str) -> dict[str, Schema]:
    return {"output_index": COUNT, "item": output_item(*statuses)}


_RESPONSE_EVENTS: dict[str, dict[str, Schema]] = {
    "response.created": {"response": ref("RunningResponse")},
    "response.in_progress": {"response": ref("RunningResponse")},
    "response.output_item.added": _item_of("in_progress"),
    "response.content_part.added": {**_WITHIN, **_PART},
    "response.output_text.delta": {**_WITHIN, "delta": TEXT, "logprobs": _LOGPROBS},
    "response.output_text.done": {**_WITHIN, "text": TEXT, "logprobs": _LOGPROBS},
    "response.output_text.annotation.added": {
        **_WITHIN,
        "annotation_index": COUNT,
        "annotation": obj({}, additionalProperties=True),
    },
    "response.refusal.delta": {**_WITHIN, "delta": TEXT},
    "response.refusal.done": {**_WITHIN, "refusal": TEXT},
    "response.reasoning_text.delta": {**_WITHIN, "delta": TEXT},
    "response.reasoning_text.done": {**_WITHIN, "text": TEXT},
    "response.reasoning_summary_part.added": {**_SUMMARIZED, "part": SUMMARY_PART},
    "response.reasoning_summary_text.delta": {**_SUMMARIZED, "delta": TEXT},
    "response.reasoning_summary_text.done": {**_SUMMARIZED, "text": TEXT},
    "response.reasoning_summary_part.done": {**_SUMMARIZED, "part": SUMMARY_PART},
    "response.content_part.done": {**_WITHIN, **_PART},
    "response.function_call_arguments.delta": {**_PLACE, "delta": TEXT},
    "response.function_call_arguments.done": {**_PLACE, **same(TEXT, "name", "arguments")},
    "response.custom_tool_call_input.delta": {**_PLACE, "delta": TEXT},
    "response.custom_tool_call_input.done": {**_PLACE, "input": TEXT},
    "response.output_item.done": _item_of("completed", "incomplete"),
    "response.completed": {"response": ref("Response")},
    "response.incomplete": {"response": ref("Response")},
    "response.failed": {"response": ref("FailedResponse")},
}


def _one_of(events: dict[str, dict[str, Schema]], always: dict[str, Schema]) -> list[Schema]:
    return [obj({"type": const(name), **always, **said}) for name, said in events.items()]


_CHUNKS = {
    "ChatChunk": _chunk("chat.completion.chunk", {"delta": _DELTA}),
    "TextChunk": _chunk("text_completion", {"text": TEXT}),
}
SCHEMAS: dict[str, Schema] = {
    **_CHUNKS,
    "MessageEvent": {
        "anyOf": _one_of(_MESSAGE_EVENTS, {}),
        "description": f"{_NAMED}The last is message_stop, or error if the stream broke off.",
    },
    "ResponseEvent": {
        "anyOf": _one_of(_RESPONSE_EVENTS, {"sequence_number": COUNT}),
        "description": f"{_NAMED}The last is response.completed, response.incomplete, or "
        "response.failed if the stream broke off.",
    },
}
