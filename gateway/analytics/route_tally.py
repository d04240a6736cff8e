"""How well a route serves, measured by the attempts of real requests.

An attempt failed if that was the provider's fault: no connection, no answer in time, an error of
its own, a lack of capacity, an answer that broke off. An attempt counts as served if the provider
rejected the request itself. It doesn't count if the client hung up before anything came.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.analytics import histogram
from gateway.analytics.histogram import Histogram
from gateway.failures import Declined
from gateway.models import ApiRequest
from gateway.routing import health as route_health

# The columns of ApiRequest from which the service of its routes is measured.
COLUMNS = (
    "outcome",
    "streamed",
    "route_id",
    "completion_tokens",
    "first_token_ms",
    "latency_ms",
    "attempts",
)
_SUMS = ("attempts", "failures", "streams", "output_tokens", "writing_ms")
STORED = (*_SUMS, "latency", "first_token")


class Writing(NamedTuple):
    """The size and the times of one finished answer of a route; times in milliseconds."""

    streamed: bool
    tokens: int
    first_token_ms: float
    latency_ms: float


@dataclasses.dataclass(slots=True)
class ServiceTally:
    """The sums of a number of attempts at a route."""

    attempts: int = 0
    failures: int = 0
    streams: int = 0
    output_tokens: int = 0
    writing_ms: int = 0
    latency: Histogram = dataclasses.field(default_factory=Counter)
    first_token: Histogram = dataclasses.field(default_factory=Counter)

    def add_attempt(self, *, failed: bool) -> None:
        self.attempts += 1
        self.failures += failed

    def add_answer(self, answer: Writing) -> None:
        self.latency[histogram.bucket_of(answer.latency_ms)] += 1
        if not answer.streamed:
            return
        self.first_token[histogram.bucket_of(answer.first_token_ms)] += 1
        writing_ms = round(answer.latency_ms - answer.first_token_ms)
        if route_health.tells_speed(writing_ms / 1000):
            self.streams += 1
            self.output_tokens += answer.tokens
            self.writing_ms += writing_ms

    def add_stored(self, row: tuple[Any, ...]) -> None:
        """Add a row of a rollup, given by its STORED columns."""
        *numbers, latency, first_token = row
        for name, number in zip(_SUMS, numbers, strict=True):
            setattr(self, name, getattr(self, name) + number)
        self.latency.update(histogram.from_json(latency))
        self.first_token.update(histogram.from_json(first_token))

    def add(self, other: "ServiceTally") -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.update(other.latency)
        self.first_token.update(other.first_token)

    def stored(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in _SUMS},
            "latency": histogram.as_json(self.latency),
            "first_token": histogram.as_json(self.first_token),
        }


def verdicts(attempts: list[dict]) -> Iterator[tuple[str, bool]]:
    """Yield the route of each attempt that counts, and whether the attempt failed."""
    for attempt in attempts:
        if attempt.get("error") is not None or has_answered(attempt):
            yield attempt["route"], has_failed(attempt)


def has_failed(attempt: dict) -> bool:
    return attempt.get("error") not in (None, Declined.fault)


def has_answered(attempt: dict) -> bool:
    return attempt.get("error") is None and attempt.get("status") == 200


def writing(
    outcome: str,
    streamed: bool,
    tokens: int,
    first_token_ms: float | None,
    latency_ms: float | None,
    attempts: list[dict],
) -> Writing | None:
    """Return the size and times of a finished answer, or None without one.

    The times are counted from the moment at which the route of the last attempt was asked.
    """
    if outcome != ApiRequest.Outcome.FINISHED or not attempts:
        return None
    first_ms = attempts[-1].get("ms")
    if first_token_ms is None or latency_ms is None or first_ms is None:
        return None
    rest_ms = max(0.0, latency_ms - first_token_ms)
    return Writing(streamed, tokens, first_ms, first_ms + rest_ms)
