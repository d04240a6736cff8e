"""The parts of a run. Each starts its processes and measures its figures.

A missed figure is profiled at once, while the gateway that missed it is still running.
"""

import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import baselines, measurements
from benchmarks.figures import Figure
from benchmarks.gateway import ENGINES, Gateway, gateway
from benchmarks.load import Target
from benchmarks.measurements import Latency, Subject
from benchmarks.processes import spending, tree_cpu_s
from benchmarks.profiles import WATCHED_S, Profile, take

FEW_ROWS, MANY_ROWS = 10_000, 1_000_000
FIRST_REQUESTS, LAST_REQUESTS = 10_000, 100_000


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The measurements that all proxies have in common."""

    name: str
    cpu_ms: float
    per_s: float
    added: Latency
    event_us: float | None


@dataclasses.dataclass
class Run:
    """The results of a run. `missing` lists what couldn't be measured, with the reasons."""

    upstream_url: str
    figures: list[Figure] = dataclasses.field(default_factory=list)
    comparisons: list[Comparison] = dataclasses.field(default_factory=list)
    profiles: list[Profile] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    _direct: Latency | None = None

    @property
    def direct(self) -> Latency:
        """The upstream's own latency, measured once."""
        if self._direct is None:
            upstream = Subject("Upstream", Target(self.upstream_url), os.getpid())
            self._direct = measurements.latency(upstream)
        return self._direct

    def add(self, key: str, engine: str, value: float, note: str = "") -> bool:
        """Add a figure. Returns True if its promise is kept."""
        figure = Figure(key, engine, value, note)
        self.figures.append(figure)
        print(f"  {figure.name}: {figure.measured} (at most {figure.bound})", flush=True)
        return figure.is_kept

    @contextlib.contextmanager
    def gateway(self, engine: str) -> Iterator[tuple[Gateway, Subject]]:
        """Run a gateway and warm it up."""
        with gateway(engine, self.upstream_url) as running:
            subject = Subject(f"Kyma, {engine}", running.target, running.pid)
            measurements.warm_up(subject)
            yield running, subject

    def profile(self, title: str, subject: Subject, load: Callable[[Subject], object]) -> None:
        self.profiles.append(take(title, subject.pid, lambda: load(subject)))


def cpu(run: Run) -> None:
    """Whole answers and streams: CPU and added latency, of Kyma, nginx and LiteLLM."""
    for engine in ENGINES:
        with run.gateway(engine) as (running, subject):
            _cpu_of_kyma(run, engine, running, subject)
    _compare_with(run, baselines.nginx)
    try:
        _compare_with(run, baselines.litellm)
    except baselines.CannotInstall as error:
        run.missing.append(f"LiteLLM can't be installed here: {error}")


def _cpu_of_kyma(run: Run, engine: str, running: Gateway, subject: Subject) -> None:
    with spending(running.database_pid or running.pid, tree_cpu_s) as database:
        cpu_ms, answers = measurements.cpu_per_request_ms(subject)
    database_ms = 1e3 * database.cpu_s / answers.requests
    note = f"Postgres itself: {database_ms:.2f} ms" if running.database_pid else ""
    if not run.add("cpu", engine, cpu_ms, note):
        run.profile(f"Whole answers, {engine}", subject, measurements.whole_answers)
    event_us = measurements.cpu_per_event_us(subject)
    if not run.add("event", engine, event_us):
        run.profile(f"Streams, {engine}", subject, measurements.brisk_streams)
    added = measurements.latency(subject) - run.direct
    kept = [
        run.add("added_p50", engine, added.p50.middle, added.p50.note),
        run.add("added_p99", engine, added.p99.middle, added.p99.note),
    ]
    if not all(kept):
        run.profile(f"Eight at a time, {engine}", subject, measurements.slow_answers)
    run.comparisons.append(Comparison(subject.name, cpu_ms, answers.per_s, added, event_us))


def _compare_with(run: Run, start) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="kyma-bench-") as folder,
        start(run.upstream_url, Path(folder)) as subject,
    ):
        measurements.warm_up(subject)
        cpu_ms, answers = measurements.cpu_per_request_ms(subject)
        added = measurements.latency(subject) - run.direct
        event_us = _event_us_if_it_can(run, subject)
    print(f"  {subject.name}: {cpu_ms:.3f} ms, {event_us} µs per event", flush=True)
    run.comparisons.append(Comparison(subject.name, cpu_ms, answers.per_s, added, event_us))


def _event_us_if_it_can(run: Run, subject: Subject) -> float | None:
    try:
        return measurements.cpu_per_event_us(subject)
    except (BrokenPipeError, TimeoutError, RuntimeError):
        run.missing.append(f"{subject.name} did not keep {measurements.BUSY} streams open.")
        return None


def streams(run: Run) -> None:
    """A thousand streams open at once."""
    engine = ENGINES[0]
    with run.gateway(engine) as (_, subject), measurements.open_streams(subject) as seen:
        first = seen.first_token_p99_ms
        kept = [
            run.add("streams_core", engine, seen.core_percent),
            run.add("streams_memory", engine, seen.memory_kb),
            run.add("streams_first", engine, first.middle, first.note),
        ]
        if not all(kept):
            title = f"1,000 open streams, {engine}"
            run.profile(title, subject, lambda _: time.sleep(WATCHED_S))


def rows(run: Run) -> None:
    """The same load with few and with many request rows."""
    for engine in ENGINES:
        with run.gateway(engine) as (few, few_rows), run.gateway(engine) as (many, many_rows):
            few.seed("rows", str(FEW_ROWS))
            many.seed("rows", str(MANY_ROWS))
            few_ms, many_ms = measurements.compared_ms(few_rows, many_rows)
            if not run.add("rows", engine, many_ms / few_ms, f"{few_ms:.2f}, {many_ms:.2f} ms"):
                title = f"Before 1,000,000 rows, {engine}"
                run.profile(title, many_rows, measurements.whole_answers)


def memory(run: Run) -> None:
    """Memory of the process after many requests."""
    engine = ENGINES[0]
    with run.gateway(engine) as (_, subject):
        first, last = measurements.memory_growth(subject, first=FIRST_REQUESTS, last=LAST_REQUESTS)
    run.add("memory", engine, 100 * (last / first - 1), f"{first:.1f} and {last:.1f} MB")


PARTS = {"cpu": cpu, "streams": streams, "rows": rows, "memory": memory}
