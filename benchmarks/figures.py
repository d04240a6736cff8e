"""The promised limits and the measured figures. A figure is one line of the table."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Promise:
    """A limit on a cost. `{}` in the name stands for the engine."""

    name: str
    limit: float
    unit: str


PROMISES = {
    "cpu": Promise("Gateway CPU per whole answer, 64 concurrent, {}", 0.30, "ms"),
    "added_p50": Promise("Added latency, upstream taking 100 ms, 8 concurrent, {}, p50", 4, "ms"),
    "added_p99": Promise("Added latency, upstream taking 100 ms, 8 concurrent, {}, p99", 8, "ms"),
    "event": Promise("Gateway CPU per streamed event, 64 streams, {}", 40, "µs"),
    "streams_core": Promise("1,000 open streams, 10 events/s each, {}: share of a core", 35, "%"),
    "streams_memory": Promise("1,000 open streams, {}: memory per stream", 40, "KB"),
    "streams_first": Promise("1,000 open streams, {}: first token of another, p99", 15, "ms"),
    "rows": Promise("CPU with 1,000,000 request rows against 10,000, {}", 1.1, "×"),
    "memory": Promise("Memory after 100,000 requests against after 10,000, {}", 5, "% more"),
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """The measured value of a promise. `note` is shown beside it."""

    key: str
    engine: str
    value: float
    note: str = ""

    @property
    def promise(self) -> Promise:
        return PROMISES[self.key]

    @property
    def name(self) -> str:
        return self.promise.name.format(self.engine)

    @property
    def is_kept(self) -> bool:
        return self.value <= self.promise.limit

    @property
    def measured(self) -> str:
        return f"{self.value:.{_digits(self.promise.limit)}f} {self.promise.unit}"

    @property
    def bound(self) -> str:
        return f"{self.promise.limit:g} {self.promise.unit}"


def _digits(limit: float) -> int:
    """Return enough decimals to see on which side of the limit a value lies."""
    return 0 if limit >= 35 else 1 if limit > 2 else 2
