"""How pages show what an account used: figures, charts over time, and tables by what it was."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from django.utils import timezone
from django.utils.formats import date_format

from accounts.models import ApiKey
from billing.templatetags.money import usd
from gateway import usage
from gateway.pages import charts
from gateway.pages.charts import Chart, Series
from gateway.templatetags.figures import count, duration
from gateway.usage import Figures, Filter

Points = Sequence[tuple[dt.datetime, Figures]]

# The classes of errors (gateway/tally.py) in plain words.
FAILURES = {
    "caller": "The request, its key or the credit didn't allow it",
    "limited": "A limit was reached",
    "provider": "The provider failed",
    "kyma": "Kyma failed",
    "gone": "The caller hung up before the answer",
}


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """A table of parts, the dearest first."""

    id: str
    title: str
    name: str
    rows: Sequence[tuple[str, Figures]]


def shown(wanted: Filter) -> dict:
    """For the templates `gateway/_figures.html` and `gateway/_usage.html`."""
    total = usage.total(wanted)
    return {
        "total": total,
        "total_tokens": total.prompt_tokens + total.completion_tokens,
        "charts": _charts(usage.over_time(wanted, zone=timezone.get_current_timezone())),
        "failures": _failures(usage.errors_by_class(wanted)),
    }


def by_model(wanted: Filter) -> Breakdown:
    rows = _named(usage.by_model(wanted), "No model", str)
    return Breakdown("by-model", "By model", "Model", rows)


def by_provider(wanted: Filter) -> Breakdown:
    rows = _named(usage.by_provider(wanted), "No provider", str)
    return Breakdown("by-provider", "By provider", "Provider", rows)


def by_key(wanted: Filter) -> Breakdown:
    rows = _named(usage.by_key(wanted), "No key: the chat", key_label)
    return Breakdown("by-key", "By API key", "Key", rows)


def key_label(key: ApiKey) -> str:
    return f"{key.name} ({key.start}…{key.end})"


def labels(points: Points) -> list[str]:
    """Hours with their time, days without, in the current zone."""
    is_hourly = len(points) > 1 and points[1][0] - points[0][0] <= dt.timedelta(hours=1)
    shape = "j M, H:i" if is_hourly else "D j M"
    return [date_format(timezone.localtime(start), shape) for start, _ in points]


def _charts(points: Points) -> list[Chart]:
    spend = [Series("Spend", _each(points, lambda one: one.cost_nano))]
    requests = [
        Series("Answered", _each(points, lambda one: one.requests - one.errors)),
        Series("Failed", _each(points, lambda one: one.errors)),
    ]
    tokens = [
        Series("Input", _each(points, lambda one: one.prompt_tokens - one.cached_tokens)),
        Series("Cached input", _each(points, lambda one: one.cached_tokens)),
        Series("Output", _each(points, lambda one: one.completion_tokens)),
    ]
    latency = [
        Series("Median", _each(points, lambda one: one.latency_p50_ms)),
        Series("95 % within", _each(points, lambda one: one.latency_p95_ms)),
    ]
    times = labels(points)
    return [
        charts.columns("spend", title="Spend", labels=times, series=spend, show=usd),
        charts.columns("requests", title="Requests", labels=times, series=requests, show=count),
        charts.columns("tokens", title="Tokens", labels=times, series=tokens, show=count),
        charts.lines(
            "latency", title="Time to the whole answer", labels=times, series=latency, show=duration
        ),
    ]


def _each(points: Points, read: Callable[[Figures], int | None]) -> list[int | None]:
    return [read(figures) for _, figures in points]


def _named(rows: Iterable, nothing: str, name: Callable) -> list[tuple[str, Figures]]:
    return [(name(one) if one else nothing, figures) for one, figures in rows]


def _failures(errors: dict[str, int]) -> list[tuple[str, int]]:
    return [(FAILURES[name], number) for name, number in errors.items() if number]
