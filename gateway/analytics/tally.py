"""The sums of a set of requests, and whose fault each error was.

Rollups and live figures are made by the same sums, so they can't disagree.
"""

import dataclasses
from collections import Counter
from typing import Any

from django.db.models import Q

from gateway.analytics import histogram
from gateway.analytics.histogram import Histogram
from gateway.models import ApiRequest

Outcome = ApiRequest.Outcome

# The APIs that ask a model: reads of the catalogue, the balance or a receipt aren't usage.
# "" stands for a request whose process died, so that its API is unknown.
ANSWERING_APIS = ("chat", "messages", "responses", "completions", "embeddings", "")
IS_USAGE = Q(api__in=ANSWERING_APIS) | ~Q(model="")

ERROR_CLASSES = ("caller", "limited", "provider", "kyma", "gone")
_DECLINED = (400, 403, 413, 422)  # The provider rejected the request itself.
# A client that stops an answer in the middle has got what it wanted, so that counts as success.
IS_OK = Q(outcome__in=(Outcome.FINISHED, Outcome.REPLAYED)) | Q(
    outcome=Outcome.CLIENT_GONE, status=200
)

# The columns of ApiRequest that a tally counts, in the order of `add_row`.
COLUMNS = (
    "outcome",
    "status",
    "streamed",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cost_nano",
    "first_token_ms",
    "latency_ms",
)
_SUMS = (
    "requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cost_nano",
)
# The columns of a rollup, in the order of `add_stored`.
STORED = (
    *_SUMS,
    *(f"errors_{name}" for name in ERROR_CLASSES),
    "latency",
    "first_token",
)


def error_class(outcome: str, status: int) -> str | None:
    """Return the class of error that kept the request from an answer; None if it got one."""
    if outcome in (Outcome.FINISHED, Outcome.REPLAYED):
        return None
    if outcome == Outcome.CLIENT_GONE:
        return None if status == 200 else "gone"
    if outcome == Outcome.UPSTREAM_FAILED:
        return "caller" if status in _DECLINED else "provider"
    if outcome == Outcome.EMPTY:
        return "provider"
    if outcome == Outcome.REFUSED and status < 500:
        return "limited" if status == 429 else "caller"
    return "kyma"  # Kyma failed, its process died, or it lacked something to serve the request.


@dataclasses.dataclass(slots=True)
class Tally:
    """Sums of requests, and histograms of the times to the end and to the first token."""

    requests: int = 0
    errors: Counter[str] = dataclasses.field(default_factory=Counter)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0
    latency: Histogram = dataclasses.field(default_factory=Counter)
    first_token: Histogram = dataclasses.field(default_factory=Counter)

    def add_row(self, row: tuple[Any, ...]) -> None:
        """Count one request, given by its COLUMNS."""
        outcome, status, streamed, prompt, cached, completion, reasoning, cost, first, whole = row
        self.requests += 1
        if failure := error_class(outcome, status):
            self.errors[failure] += 1
        self.prompt_tokens += prompt
        self.cached_tokens += cached
        self.completion_tokens += completion
        self.reasoning_tokens += reasoning
        self.cost_nano += cost
        if outcome == Outcome.FINISHED and whole is not None:
            self.latency[histogram.bucket_of(whole)] += 1
        if outcome == Outcome.FINISHED and streamed and first is not None:
            self.first_token[histogram.bucket_of(first)] += 1

    def add_stored(self, row: tuple[Any, ...], *, sign: int = 1) -> None:
        """Add a row of a rollup, given by its STORED columns; with `sign` -1 subtract it."""
        *numbers, latency, first_token = row
        for name, number in zip(_SUMS, numbers, strict=False):
            setattr(self, name, getattr(self, name) + sign * number)
        for name, number in zip(ERROR_CLASSES, numbers[len(_SUMS) :], strict=True):
            self.errors[name] += sign * number
        for counted, stored in ((self.latency, latency), (self.first_token, first_token)):
            for bucket, count in stored.items():
                counted[int(bucket)] += sign * count

    def add(self, other: "Tally") -> None:
        """Add the sums of another tally."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        pairs: tuple[tuple[Counter[Any], Counter[Any]], ...] = (
            (self.errors, other.errors),
            (self.latency, other.latency),
            (self.first_token, other.first_token),
        )
        for counted, added in pairs:
            for one, count in added.items():  # `Counter.update` takes twice the time.
                counted[one] += count

    def stored(self) -> dict[str, Any]:
        """Return these sums as the STORED columns of a row."""
        return {
            **{name: getattr(self, name) for name in _SUMS},
            **{f"errors_{name}": self.errors[name] for name in ERROR_CLASSES},
            "latency": histogram.as_json(self.latency),
            "first_token": histogram.as_json(self.first_token),
        }
