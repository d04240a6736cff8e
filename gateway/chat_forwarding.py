"""The body that a provider gets for a chat request: nothing in it that isn't meant to leave."""

import orjson

from gateway.chat_request import ChatRequest
from gateway.strict_providers import softened


def upstream_body(
    request: ChatRequest,
    *,
    upstream_model: str,
    max_tokens: int,
    passthrough: bool,
    unsupported: frozenset[str],
    wants_max_completion_tokens: bool,
) -> bytes:
    """The token limit is always set, and usage always asked for: the bill rests on both.

    Fields in `unsupported` are left out; a provider that rejects `stream_options` sends usage
    without being asked.
    """
    given = {**request.unknown, **request.fields} if passthrough else request.fields
    body = {name: value for name, value in given.items() if name not in unsupported}
    body["model"] = upstream_model
    body["messages"] = request.messages
    body["stream"] = request.stream
    if request.stream and "stream_options" not in unsupported:
        body["stream_options"] = {"include_usage": True}
    body["max_completion_tokens" if wants_max_completion_tokens else "max_tokens"] = max_tokens
    if request.answers > 1 and "n" not in unsupported:
        body["n"] = request.answers
    return orjson.dumps(softened(body, unsupported))
