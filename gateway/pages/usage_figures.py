"""An account's usage as pages show it: figures, charts over time, and tables of its parts."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from django.utils import timezone
from django.utils.formats import date_format

from accounts.models import ApiKey
from billing.templatetags.money import usd
from gateway.analytics import usage
from gateway.analytics.usage import Figures, Filter
from gateway.pages import charts
from gateway.pages.charts import Chart, Series
from gateway.templatetags.figures import count, duration

Points = Sequence[tuple[dt.datetime, Figures]]

# The classes of errors (gateway/analytics/tally.py) in plain words.
FAILURES = {
    "caller": "The request, its key or the credit didn't allow it",
    "limited": "A limit was reached",
    "provider": "The provider failed",
    "kyma": "Kyma failed",
    "gone": "The caller hung up before the answer",
}


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """A table of the parts of the usage, the most expensive first."""

    title: str
    name: str
    rows: Sequence[tuple[str, Figures]]


def shown(wanted: Filter, *, by: Sequence[str] = ("model", "key")) -> dict:
    """Return the context of the templates `gateway/_figures.html` and `gateway/_usage.html`."""
    report = usage.report(wanted, zone=timezone.get_current_timezone())
    tables = {
        "model": Breakdown("By model", "Model", _named(report.by_model, "No model", str)),
        "key": Breakdown("By API key", "Key", _named(report.by_key, "No key: the chat", key_label)),
        "provider": Breakdown(
            "By provider", "Provider", _named(report.by_provider, "No provider", str)
        ),
    }
    return {
        "total": report.total,
        "total_tokens": report.total.prompt_tokens + report.total.completion_tokens,
        "charts": _charts(report.over_time),
        "breakdowns": [tables[name] for name in by],
        "failures": _failures(report.errors_by_class),
    }


def key_label(key: ApiKey) -> str:
    return f"{key.name} ({key.start}…{key.end})"


def labels(points: Points) -> list[str]:
    """Return the labels of a time axis, in the current zone: hours with a time, days without."""
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
