"""Counts an answer, and decides how much of it is billed: this table, as functions.

| ending | billed |
|---|---|
| finished, usage present | the usage; zero is believed |
| finished, usage absent | an estimate: the prompt count if seen, else ⌈bytes / 4⌉ each |
| finished, usage negative or beyond the context | the estimate |
| no content at all | nothing |
| client gone | the part that was handed to the socket |
| upstream failed | nothing |
| Kyma failed, or its process ended | nothing |

Usage that is negative or beyond the context flags the request, however it ended.
"""

import dataclasses
from enum import Enum
from typing import Any, TypeGuard

from billing.pricing import Usage
from gateway.dialects.chat.answer import BROKEN_OFF, content_bytes, index_of
from gateway.dialects.request import BYTES_PER_TOKEN

BYTES_PER_NUMBER = 4  # in a vector

# The errors that `Meter.saw` raises for JSON that isn't shaped like an answer.
MALFORMED = (AttributeError, TypeError, RecursionError)


class Ending(Enum):
    FINISHED = "finished"
    CLIENT_GONE = "client-gone"
    UPSTREAM_FAILED = "upstream-failed"
    KYMA_FAILED = "kyma-failed"

    @property
    def is_failure(self) -> bool:
        return self in (Ending.UPSTREAM_FAILED, Ending.KYMA_FAILED)


@dataclasses.dataclass(frozen=True, slots=True)
class Bill:
    """The usage that the caller pays for (`usage`), and that the provider bills us (`upstream`)."""

    usage: Usage
    upstream: Usage
    is_free: bool
    estimated: bool = False
    flagged: bool = False


class Meter:
    """Counts one answer as it is seen and as it is delivered; vectors if it has no `answers`."""

    def __init__(
        self,
        *,
        prompt_estimate: int,
        context_length: int,
        answers: int,
        images: int,
        prompts: int = 1,
        echoed_bytes: int = 0,
    ):
        self.prompt_estimate = prompt_estimate
        self._context_length = context_length
        self._most_prompt = context_length * prompts
        self._answers = answers
        self._echoed_bytes = echoed_bytes
        self._images = images
        self._raw_usage: dict | None = None
        self._reported: tuple[Usage | None, bool] | None = None  # `_raw_usage`, once it was read.
        self.seen_bytes = 0
        self.delivered_bytes = 0
        self.finish_reasons: dict[int, str] = {}

    def saw(self, chunk: dict) -> int:
        """Take in one chunk or whole answer, and return the bytes of content in it.

        Raises one of MALFORMED.
        """
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._raw_usage, self._reported = usage, None
        size = 0
        for choice in chunk.get("choices") or ():
            size += content_bytes(choice.get("delta") or choice.get("message") or choice)
            if choice.get("finish_reason"):
                self.finish_reasons[index_of(choice)] = choice["finish_reason"]
        if not self._answers:
            size = BYTES_PER_NUMBER * sum(map(len, chunk["vectors"]))
        self.seen_bytes += size
        return size

    @property
    def has_answered(self) -> bool:
        """True when content came, or a finish reason without any: Kyma can hand that on."""
        return bool(self.seen_bytes or self.finish_reasons)

    @property
    def has_begun(self) -> bool:
        """True when the provider may bill us: an answer came, or usage alone."""
        return self.has_answered or bool(self._raw_usage)

    @property
    def is_complete(self) -> bool:
        """True when every answer has its finish reason."""
        return len(self.finish_reasons) >= self._answers

    @property
    def broke_off(self) -> bool:
        """True when a finish reason says that the provider gave up."""
        reasons = self.finish_reasons.values()
        return any(isinstance(reason, str) and reason in BROKEN_OFF for reason in reasons)

    def reported(self) -> tuple[Usage | None, bool]:
        """Return the provider's usage, or None, and True if the provider sent absurd figures."""
        if self._raw_usage is None:
            return None, False
        if self._reported is None:
            self._reported = read_usage(
                self._raw_usage,
                images=self._images,
                most_prompt=self._most_prompt,
                most_completion=self._context_length * self._answers,
            )
        return self._reported

    def bill(self, ending: Ending) -> Bill:
        """Return the bill of an answer that ended like this."""
        reported, absurd = self.reported()
        upstream = reported or self._estimate(self.seen_bytes)
        if ending is Ending.CLIENT_GONE:
            usage = self._delivered(reported)
        else:
            usage = upstream if self.has_begun else Usage()
        return Bill(
            usage,
            upstream,
            is_free=ending.is_failure or not self.seen_bytes,
            estimated=reported is None and not usage.is_zero,
            flagged=absurd,
        )

    def _delivered(self, reported: Usage | None) -> Usage:
        """Return the usage of the bytes that reached the socket: their share, rounded down."""
        if not self.delivered_bytes:
            return Usage()
        if reported is None:
            return self._estimate(self.delivered_bytes)
        completion = reported.completion * self.delivered_bytes // self.seen_bytes
        return dataclasses.replace(
            reported, completion=completion, reasoning=min(reported.reasoning, completion)
        )

    def _estimate(self, size: int) -> Usage:
        prompt = self._prompt_seen() or self.prompt_estimate
        written = max(size - self._echoed_bytes, 0) if self._answers else 0
        completion = -(-written // BYTES_PER_TOKEN)
        return Usage(prompt=prompt, completion=completion, images=self._images)

    def _prompt_seen(self) -> int:
        count = (self._raw_usage or {}).get("prompt_tokens")
        return count if _is_count(count) and count <= self._most_prompt else 0


def read_usage(
    raw: dict, *, images: int, most_prompt: int, most_completion: int
) -> tuple[Usage | None, bool]:
    """Return a provider's usage: (None, False) without counts, (None, True) if they are absurd."""
    prompt, completion = raw.get("prompt_tokens"), raw.get("completion_tokens")
    if not most_completion:  # Embeddings have no completion, and few providers send a 0.
        completion = completion or 0
    if not _is_int(prompt) or not _is_int(completion):
        return None, False
    if not (0 <= prompt <= most_prompt and 0 <= completion <= most_completion):
        return None, True
    cached = _cached(raw)
    reasoning = _detail(raw, "completion_tokens_details", "reasoning_tokens")
    usage = Usage(
        prompt=prompt,
        cached=min(cached, prompt),
        completion=completion,
        reasoning=min(reasoning, completion),
        images=images,
    )
    return usage, False


def _cached(raw: dict) -> int:
    """Return the tokens from the provider's cache, which are cheaper.

    Kimi and DeepSeek have members of their own for them.
    """
    own = (raw.get("cached_tokens"), raw.get("prompt_cache_hit_tokens"))
    standard = _detail(raw, "prompt_tokens_details", "cached_tokens")
    return standard or next(filter(_is_count, own), 0)


def _detail(raw: dict, group: str, name: str) -> int:
    details = raw.get(group)
    count: Any = details.get(name) if isinstance(details, dict) else None
    return count if _is_count(count) else 0


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> TypeGuard[int]:
    return _is_int(value) and value >= 0
