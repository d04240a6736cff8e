"""The receipt of one request as `GET /v1/generation` shows it, and the ids of answers."""

import uuid

import orjson

from billing.pricing import Usage, cost_lines, usd
from gateway.dialects.chat.answer import finish_meaning
from gateway.dialects.request import CHAT, EMBEDDINGS, TEXT
from gateway.models import ApiRequest

# The prefix of an answer's id, by API; the id of the request follows it.
_PREFIXES = {
    "chat": CHAT.id_prefix,
    "messages": "msg_",
    "responses": "resp_",
    "completions": TEXT.id_prefix,
    "embeddings": EMBEDDINGS.id_prefix,
}


def answer_id(api: str, request_id: str) -> str:
    """Return the id of the answer to a request; `request_id` is 32 hexadecimal digits."""
    return _PREFIXES.get(api, _PREFIXES["chat"]) + request_id


def request_id(text: str) -> uuid.UUID:
    """Return the request's id, given that or the id of its answer. Raises ValueError."""
    prefix = next((one for one in _PREFIXES.values() if text.startswith(one)), "")
    return uuid.UUID(text.removeprefix(prefix))


def generation_object(row: ApiRequest) -> dict:
    """Return OpenRouter's generation object, with Kyma's breakdown of the cost added."""
    finish_reason, native_finish_reason = finish_of(row)
    return {
        "id": answer_id(row.api, row.id.hex),
        "request_id": str(row.id),
        "api_type": row.api,
        "model": row.model,
        "provider_name": row.provider,
        "created_at": row.created_at.isoformat(),
        "streamed": row.streamed,
        "cancelled": row.outcome == ApiRequest.Outcome.CLIENT_GONE,
        "outcome": row.outcome,
        "status": row.status,
        "latency": row.first_token_ms,
        "generation_time": row.latency_ms,
        "overhead": row.overhead_ms,
        "tokens_prompt": row.prompt_tokens,
        "tokens_completion": row.completion_tokens,
        "native_tokens_prompt": row.prompt_tokens,
        "native_tokens_completion": row.completion_tokens,
        "native_tokens_reasoning": row.reasoning_tokens,
        "native_tokens_cached": row.cached_tokens,
        "estimated": row.estimated,
        "finish_reason": finish_reason,
        "native_finish_reason": native_finish_reason,
        "total_cost": orjson.Fragment(usd(row.cost_nano)),
        "usage": orjson.Fragment(usd(row.cost_nano)),
        "cost_details": _cost_details(row),
        "attempts": row.attempts,
        "is_byok": False,
    }


def finish_of(row: ApiRequest) -> tuple[str | None, str | None]:
    """Return the finish reason as the caller saw it and as the provider named it; None if missing.

    A row of an older Kyma holds the provider's word alone.
    """
    last = row.attempts[-1] if row.attempts else {}
    meaning = finish_meaning(row.finish_reason) if row.finish_reason else None
    return meaning, last.get("finish_reason", row.finish_reason) or None


def _cost_details(row: ApiRequest) -> dict | None:
    """Return the cost by class in USD; the sum exceeds the total if the hold capped the total."""
    if not row.cost_nano or row.price_version is None:
        return None
    lines = cost_lines(row.price_version.price, usage_of(row))
    return {
        "price_version": str(row.price_version_id),
        **{name: orjson.Fragment(usd(nano)) for name, nano in lines.items()},
    }


def usage_of(row: ApiRequest) -> Usage:
    return Usage(
        prompt=row.prompt_tokens,
        cached=row.cached_tokens,
        completion=row.completion_tokens,
        reasoning=row.reasoning_tokens,
        images=row.images,
    )
