"""Chunks and answers of the chat API under Kyma's name: id, model, provider, usage, errors."""

import dataclasses
import functools

import orjson

from billing.pricing import Usage, usd
from gateway.dialects.chat import mending
from gateway.dialects.chat.answer import content_bytes, hide_thoughts
from gateway.dialects.request import CHAT, Endpoint
from gateway.errors import GatewayError


@dataclasses.dataclass(frozen=True)
class Identity:
    """The members that every chunk of one answer has."""

    id: str
    created: int
    model: str
    provider: str
    endpoint: Endpoint = CHAT

    @functools.cached_property
    def of_chunks(self) -> dict:
        """The identity as members of a chunk."""
        return self.of(self.endpoint.chunk_object)

    def of(self, kind: str) -> dict:
        """Return the identity as members of an object of this kind."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "provider": self.provider,
        }


def own(answer: dict, identity: Identity) -> dict:
    """Return the whole answer, mended, under Kyma's identity and without the provider's usage."""
    answer.pop("usage", None)
    answer.update(identity.of(identity.endpoint.answer_object))
    mending.mend_whole(answer)
    return answer


def own_chunk(chunk: dict, identity: Identity, *, include_usage: bool) -> dict | None:
    """Return one chunk under Kyma's identity, or None if it holds nothing but usage."""
    if not chunk.get("choices"):
        return None
    chunk.update(identity.of_chunks)
    if include_usage:
        chunk["usage"] = None
    else:
        chunk.pop("usage", None)
    return chunk


def hide_reasoning(answer: dict) -> int:
    """Remove the thoughts from a chunk or whole answer. Return the bytes of content that are left.

    Callers may exclude thoughts, but few providers leave them out.
    """
    size = 0
    for choice in answer.get("choices") or ():
        said = choice.get("delta") or choice.get("message") or {}
        hide_thoughts(said)
        size += content_bytes(said)
    return size


def usage_object(usage: Usage, cost_nano: int) -> dict:
    """Return usage as OpenAI shows it, with its price in USD as an exact decimal number."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        "cost": orjson.Fragment(usd(cost_nano)),
        "is_byok": False,
    }


def usage_chunk(identity: Identity, usage: dict) -> dict:
    """Return the last chunk before the end of a stream, for callers who asked for usage."""
    return {
        **identity.of_chunks,
        "choices": [],
        "usage": usage,
    }


def error_chunk(identity: Identity, error: GatewayError) -> dict:
    """Return the last chunk of a stream that fails after it has begun."""
    return {
        **identity.of_chunks,
        "error": error.as_dict(has_status=True),
        "choices": [{"index": 0, **identity.endpoint.says_nothing, "finish_reason": "error"}],
    }
