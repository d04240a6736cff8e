"""The metrics of this process in Prometheus' format. None is about a person.

Labels come from bounded sets: our own names, and the models and providers of the catalogue. Each
request is observed once, when its row is written. The queue and the breakers are read when a scrape
asks for them. Children of instruments are cached: finding one costs more than counting.
"""

import functools
from collections.abc import Iterator
from http import HTTPStatus

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from gateway.catalogue.entries import names_of
from gateway.commits import leases
from gateway.commits import queue as commit_queue
from gateway.commits.record import RequestRecord
from gateway.routing import health as route_health

CONTENT_TYPE = CONTENT_TYPE_LATEST

disable_created_metrics()  # It would add a series to each, with the time of its beginning.
_REGISTRY = CollectorRegistry()
_ROUTE = ["provider", "model"]
_KNOWN_STATUSES = frozenset(HTTPStatus)

_requests = Counter(
    "kyma_requests",
    "Authenticated requests that have ended.",
    ["api", "outcome", "status_class"],
    registry=_REGISTRY,
)
_attempts = Counter(
    "kyma_upstream_attempts",
    "Tries to get an answer from a provider; `fault` is empty where it answered well.",
    ["provider", "status", "fault"],
    registry=_REGISTRY,
)
_overhead = Histogram(
    "kyma_overhead_seconds",
    "Kyma's own share of the time until an answer begins.",
    buckets=(0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1),
    registry=_REGISTRY,
)
_first_token = Histogram(
    "kyma_first_token_seconds",
    "From the request to the first content of a stream.",
    _ROUTE,
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30),
    registry=_REGISTRY,
)
_settle = Histogram(
    "kyma_settle_seconds",
    "From the end of an answer to the commit of its charge.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=_REGISTRY,
)
open_holds = Gauge(
    "kyma_open_holds",
    "Requests of this process that hold credit now.",
    registry=_REGISTRY,
)
open_streams = Gauge(
    "kyma_open_streams",
    "Streams that this process relays now.",
    registry=_REGISTRY,
)
_tried: set[str] = set()  # routes


def observe(record: RequestRecord, outcome: str | None = None) -> None:
    """Count a request that has ended. `outcome` replaces the record's own."""
    _requests_of(record.api, outcome or record.outcome, record.status // 100).inc()
    if record.overhead_ms is not None:
        _overhead.observe(record.overhead_ms / 1000)
    if record.streamed and record.first_token_ms is not None:
        _first_token_of(record.provider, record.model).observe(record.first_token_ms / 1000)
    for attempt in record.attempts:
        provider = attempt["provider"]
        _attempts_of(provider, attempt["status"], attempt.get("error") or "").inc()
        _tried.add(attempt["route"])


def observe_settlement(seconds: float) -> None:
    _settle.observe(seconds)


def text() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return generate_latest(_REGISTRY)


@functools.cache
def _requests_of(api: str, outcome: str, status_class: int) -> Counter:
    return _requests.labels(api, outcome, f"{status_class}xx")


@functools.cache
def _first_token_of(provider: str, model: str) -> Histogram:
    return _first_token.labels(provider, model)


@functools.cache
def _attempts_of(provider: str, status: int | None, fault: str) -> Counter:
    if status is None:
        return _attempts.labels(provider, "none", fault)
    return _attempts.labels(provider, status if status in _KNOWN_STATUSES else "other", fault)


def _tried_by_names() -> dict[tuple[str, str], str]:
    """Return the routes that were tried, by provider and model."""
    known = ((names_of(route_id), route_id) for route_id in sorted(_tried))
    return {names: route_id for names, route_id in known if names is not None}


def _of_the_sweeper() -> Iterator[Metric]:
    """Yield what this process has heard with its last beat."""
    lease = leases.current()
    yield GaugeMetricFamily(
        "kyma_sweeper_silent_seconds",
        "Since a sweeper last ran, at most since this process started.",
        0 if lease is None else lease.sweeper_silent_s,
    )
    yield GaugeMetricFamily(
        "kyma_oldest_transaction_seconds",
        "Age of the oldest open transaction of the database, when the sweeper last ran.",
        0 if lease is None else lease.oldest_transaction_s,
    )


class _Now(Collector):
    """The metrics that are read when a scrape asks for them."""

    def collect(self) -> Iterator[Metric]:
        queue = commit_queue.queue()
        yield GaugeMetricFamily(
            "kyma_commit_queue_depth", "Operations that wait for a commit.", queue.depth
        )
        yield CounterMetricFamily(
            "kyma_commit_dropped",
            "Log rows of refusals that were dropped: the queue was full, or the database away.",
            queue.dropped,
        )
        yield GaugeMetricFamily(
            "kyma_undo_refused",
            "Charges and holds to be undone that the database refuses to undo: see the log.",
            queue.refused,
        )
        yield from _of_the_sweeper()
        breaker = GaugeMetricFamily(
            "kyma_breaker_open", "1 while a route is tried last.", labels=_ROUTE
        )
        latency = GaugeMetricFamily(
            "kyma_route_latency_ms", "Moving average of the time to the first token.", labels=_ROUTE
        )
        for names, route_id in _tried_by_names().items():
            health = route_health.of(route_id)
            breaker.add_metric(names, health.has_tripped)
            if health.latency_ms is not None:
                latency.add_metric(names, health.latency_ms)
        yield breaker
        yield latency


_REGISTRY.register(_Now())
