"""What a set of requests adds up to, and whose fault it was where one went wrong.

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

# What a model was asked for: reads of the catalogue, the balance or a receipt are no usage.
# A request whose process died has lost which API it came by.
ANSWERING_APIS = ("chat", "messages", "responses", "completions", "embeddings", "")
IS_USAGE = Q(api__in=ANSWERING_APIS) | ~Q(model="")

ERROR_CLASSES = ("caller", "limited", "provider", "kyma", "gone")
_DECLINED = (400, 403, 413, 422)  # By the provider: the request itself is at fault.
# A client that stops an answer has got what it wanted of it.
IS_OK = Q(outcome__in=(Outcome.FINISHED, Outcome.REPLAYED)) | Q(
    outcome=Outcome.CLIENT_GONE, status=200
)

# The columns of ApiRequest that a tally is made of, in the order in which `add_row` takes them.
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
# The columns of a rollup, in the order in which `add_stored` takes them.
STORED = (
    *_SUMS,
    *(f"errors_{name}" for name in ERROR_CLASSES),
    "latency",
    "first_token",
)


def error_class(outcome: str, status: int) -> str | None:
    """Who or what kept the request from its answer; None if it got one."""
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
    return "kyma"  # Kyma failed, or was lost; or it refused for want of something of its own.


@dataclasses.dataclass(slots=True)
class Tally:
    """Sums of requests; histograms of how long finished answers and first tokens took."""

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
        """Count what a row of a rollup holds, given by its STORED columns; -1 takes it away."""
        *numbers, latency, first_token = row
        for name, number in zip(_SUMS, numbers, strict=False):
            setattr(self, name, getattr(self, name) + sign * number)
        for name, number in zip(ERROR_CLASSES, numbers[len(_SUMS) :], strict=True):
            self.errors[name] += sign * number
        for counted, stored in ((self.latency, latency), (self.first_token, first_token)):
            for bucket, count in stored.items():
                counted[int(bucket)] += sign * count

    def add(self, other: "Tally") -> None:
        """Count the requests of another tally."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        pairs: tuple[tuple[Counter[Any], Counter[Any]], ...] = (
            (self.errors, other.errors),
            (self.latency, other.latency),
            (self.first_token, other.first_token),
        )
        for counted, added in pairs:
            for one, count in added.items():  # A Counter's own update takes twice the time.
                counted[one] += count

    def stored(self) -> dict[str, Any]:
        """The STORED columns of a row with these sums."""
        return {
            **{name: getattr(self, name) for name in _SUMS},
            **{f"errors_{name}": self.errors[name] for name in ERROR_CLASSES},
            "latency": histogram.as_json(self.latency),
            "first_token": histogram.as_json(self.first_token),
        }
