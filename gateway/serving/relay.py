"""A provider's answer, made Kyma's: id, model, provider and usage are ours, the rest as it came."""

import dataclasses
import functools
from collections import defaultdict
from typing import Any

import orjson

from billing.pricing import Usage, usd
from gateway.dialects.anthropic.message import name_and_arguments
from gateway.dialects.chat import mending
from gateway.dialects.request import CHAT, Endpoint
from gateway.errors import GatewayError
from gateway.failures import Garbled
from gateway.providers.metering import content_bytes, index_of
from gateway.providers.upstream import parse, refuse_error

STREAM_END = b"[DONE]"
REASONING = ("reasoning", "reasoning_content", "reasoning_details")
SAID_IN = frozenset({"content", "reasoning", "reasoning_content", "refusal", "text"})


@dataclasses.dataclass(frozen=True)
class Identity:
    """What stands in every chunk of one answer."""

    id: str
    created: int
    model: str
    provider: str
    endpoint: Endpoint = CHAT

    @functools.cached_property
    def of_chunks(self) -> dict:
        """The members that say so in each chunk of a stream."""
        return self.of(self.endpoint.chunk_object)

    def of(self, kind: str) -> dict:
        """The members that say so, in an object of this kind."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "provider": self.provider,
        }


def read_chunk(payload: bytes) -> dict:
    """One event of the provider. Raises Garbled, or the failure that an error event means."""
    chunk = parse(payload)
    if not isinstance(chunk, dict):
        raise Garbled(status=200)
    refuse_error(chunk)
    return chunk


def own(answer: dict, identity: Identity) -> dict:
    """The whole answer under Kyma's identity, without the provider's usage, its calls mended."""
    answer.pop("usage", None)
    answer.update(identity.of(identity.endpoint.answer_object))
    mending.mend_whole(answer)
    return answer


def own_chunk(chunk: dict, identity: Identity, *, include_usage: bool) -> dict | None:
    """One chunk under Kyma's identity; None if it says nothing but usage."""
    if not chunk.get("choices"):
        return None
    chunk.update(identity.of_chunks)
    if include_usage:
        chunk["usage"] = None
    else:
        chunk.pop("usage", None)
    return chunk


def hide_reasoning(answer: dict) -> int:
    """Leave what the model thought out of a chunk or a whole answer, for those who exclude it: few
    providers do. Returns the bytes of content that are left.
    """
    size = 0
    for choice in answer.get("choices") or ():
        said = choice.get("delta") or choice.get("message") or {}
        for name in REASONING:
            said.pop(name, None)
        if isinstance(said.get("content"), list):
            said["content"] = [one for one in said["content"] if not _is_thought(one)]
        size += content_bytes(said)
    return size


def _is_thought(part: Any) -> bool:
    return isinstance(part, dict) and "thinking" in part


def usage_object(usage: Usage, cost_nano: int) -> dict:
    """Usage as OpenAI shows it, with its price in USD as an exact decimal number."""
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
    """The extra chunk before the end, for those who asked for usage."""
    return {
        **identity.of_chunks,
        "choices": [],
        "usage": usage,
    }


def error_chunk(identity: Identity, error: GatewayError) -> dict:
    """How a stream ends that cannot end well, once it has begun."""
    return {
        **identity.of_chunks,
        "error": {**error.as_dict(), "code": error.status},
        "choices": [{"index": 0, **identity.endpoint.says_nothing, "finish_reason": "error"}],
    }


class Transcript:
    """The answer as it was said, gathered from its chunks for the content log. Their calls have
    been mended.
    """

    def __init__(self) -> None:
        self._parts: defaultdict[int, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        self._calls: defaultdict[int, dict[int, dict]] = defaultdict(dict)

    def add(self, chunk: dict) -> None:
        for choice in chunk["choices"]:
            delta = choice.get("delta") or choice
            index = index_of(choice)
            parts = self._parts[index]
            for field, said in delta.items():
                if said and field in SAID_IN:
                    parts[field].append(said)
            for call in delta.get("tool_calls") or ():
                self._add_call(index, call)

    def _add_call(self, owner: int, call: dict) -> None:
        nothing = {"id": call.get("id"), "name": "", "arguments": ""}
        known = self._calls[owner].setdefault(index_of(call), nothing)
        name, arguments = name_and_arguments(call)
        known["name"] += name
        known["arguments"] += arguments

    def calls(self, index: int) -> bool:
        """Whether this answer calls tools."""
        return index in self._calls

    def messages(self) -> list[dict]:
        """One message per answer."""
        messages = []
        for index, parts in sorted(self._parts.items()):
            message: dict = {field: _joined(pieces) for field, pieces in parts.items()}
            calls = self._calls.get(index)
            messages.append({**message, "tool_calls": [*calls.values()]} if calls else message)
        return messages


def _joined(pieces: list) -> str | list:
    """One text, unless a provider sends content in parts."""
    return "".join(pieces) if all(isinstance(one, str) for one in pieces) else pieces
