"""The body that a provider gets for a request. It contains only what may leave Kyma."""

import orjson

from gateway.catalogue.strictness import softened, taken
from gateway.dialects.request import CHAT, ProviderRequest


def upstream_body(
    request: ProviderRequest,
    *,
    upstream_model: str,
    max_tokens: int,
    passthrough: bool,
    unsupported: frozenset[str],
    wants_max_completion_tokens: bool,
) -> bytes:
    """Return the body for one provider. Fields in `unsupported` are left out.

    Unless the request is for embeddings, the body sets a token limit and asks for usage, because
    the bill depends on both. A provider that rejects `stream_options` sends usage anyway.
    """
    given = {**request.unknown, **request.fields} if passthrough else request.fields
    body = taken(given, unsupported)
    body["model"] = upstream_model
    body.update(request.content if passthrough else request.known_content)
    if not request.answers:  # Embeddings have no output tokens to limit.
        return orjson.dumps(body)
    body["stream"] = request.stream
    if request.stream and "stream_options" not in unsupported:
        body["stream_options"] = {"include_usage": True}
    is_renamed = wants_max_completion_tokens and request.endpoint is CHAT
    body["max_completion_tokens" if is_renamed else "max_tokens"] = max_tokens
    if request.n > 1 and "n" not in unsupported:
        body["n"] = request.n
    return orjson.dumps(softened(body, unsupported))
