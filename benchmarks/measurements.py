"""Measures each figure. A function that takes a `Subject` works for Kyma, nginx and LiteLLM."""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks.load import Answers, Target, ask, streams
from benchmarks.processes import cpu_s, rss_bytes, spending, wait_until

WARM_UP_S, LOAD_S, LATENCY_S, EVENTS_S = 3, 10, 6, 6
BUSY, FEW = 64, 8
TURNS, TURN_S = 5, 3
ROUNDS = 5  # The median counts: a machine that stalls for a moment spoils one or two rounds.
STREAMS = 1_000
OPENED_PER_S = 97  # No multiple of ten, or many streams would send at the same moments.
PROBES, PROBES_PER_S = 200, 19
MEMORY_LOAD_S, MEMORY_DEADLINE_S = 2, 600


@dataclasses.dataclass(frozen=True)
class Subject:
    """A measured process, and the function that reads its CPU time."""

    name: str
    target: Target
    pid: int
    read_cpu: Callable[[int], float] = cpu_s


@dataclasses.dataclass(frozen=True)
class Rounds:
    """The results of several rounds."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        return statistics.median(self.values)

    @property
    def note(self) -> str:
        return f"rounds: {min(self.values):.1f} to {max(self.values):.1f}"

    def __sub__(self, other: "Rounds") -> "Rounds":
        return Rounds(tuple(value - other.middle for value in self.values))


@dataclasses.dataclass(frozen=True)
class Latency:
    """Latencies in milliseconds."""

    p50: Rounds
    p99: Rounds

    def __sub__(self, other: "Latency") -> "Latency":
        return Latency(self.p50 - other.p50, self.p99 - other.p99)


def warm_up(subject: Subject) -> None:
    whole_answers(subject, WARM_UP_S)


def whole_answers(subject: Subject, duration_s: int = LOAD_S) -> Answers:
    """Apply the load under which the CPU of whole answers is measured and profiled."""
    return ask(subject.target, "plain", concurrent=BUSY, duration_s=duration_s)


def brisk_streams(subject: Subject) -> dict:
    """Apply the load under which the CPU of events is measured and profiled."""
    with streams(subject.target, "brisk", count=BUSY, per_s=BUSY) as asked:
        seen = asked.end()
    _check(seen)
    return seen


def cpu_per_request_ms(subject: Subject, duration_s: int = LOAD_S) -> tuple[float, Answers]:
    with spending(subject.pid, subject.read_cpu) as spent:
        answers = whole_answers(subject, duration_s)
    return 1e3 * spent.cpu_s / answers.requests, answers


def compared_ms(*subjects: Subject) -> list[float]:
    """Return the CPU per request of each subject. They take turns, so a slow minute hits all."""
    costs: list[list[float]] = [[] for _ in subjects]
    for _ in range(TURNS):
        for subject, spent in zip(subjects, costs, strict=True):
            spent.append(cpu_per_request_ms(subject, TURN_S)[0])
    return [statistics.median(spent) for spent in costs]


def cpu_per_event_us(subject: Subject) -> float:
    """Return the CPU per event while all streams are open, without opening and settling them."""
    with streams(subject.target, "brisk", count=BUSY, per_s=BUSY) as asked:
        wait_until(lambda: asked.now()["open"] == BUSY, f"{BUSY} streams are open")
        before = asked.now()["events"]
        with spending(subject.pid, subject.read_cpu) as spent:
            time.sleep(EVENTS_S)
            events = asked.now()["events"] - before
        _check(asked.end())
    return 1e6 * spent.cpu_s / events


def slow_answers(subject: Subject) -> Answers:
    """Apply the load under which latency is measured."""
    return ask(subject.target, "slow", concurrent=FEW, duration_s=LATENCY_S)


def latency(subject: Subject) -> Latency:
    rounds = [slow_answers(subject) for _ in range(ROUNDS)]
    return Latency(
        Rounds(tuple(answers.p50_us / 1e3 for answers in rounds)),
        Rounds(tuple(answers.p99_us / 1e3 for answers in rounds)),
    )


@dataclasses.dataclass(frozen=True)
class OpenStreams:
    core_percent: float
    memory_kb: float
    first_token_p99_ms: Rounds


@contextlib.contextmanager
def open_streams(subject: Subject) -> Iterator[OpenStreams]:
    """Open all streams, measure CPU and memory, then first tokens of others; keep them open."""
    brisk_streams(subject)  # So that code loaded only once isn't counted.
    before = rss_bytes(subject.pid)
    with streams(subject.target, "steady", count=STREAMS, per_s=OPENED_PER_S) as asked:
        wait_until(lambda: asked.now()["open"] == STREAMS, f"{STREAMS} streams are open")
        memory = rss_bytes(subject.pid) - before
        with spending(subject.pid, subject.read_cpu) as spent:
            time.sleep(LOAD_S)
        first_tokens = Rounds(tuple(_first_token_p99_ms(subject) for _ in range(ROUNDS)))
        yield OpenStreams(100 * spent.core, memory / 1e3 / STREAMS, first_tokens)
        _check(asked.now())


def _first_token_p99_ms(subject: Subject) -> float:
    with streams(subject.target, "probe", count=PROBES, per_s=PROBES_PER_S) as probed:
        probes = probed.end()
    _check(probes)
    return probes["p99_us"] / 1e3


def memory_growth(subject: Subject, *, first: int, last: int) -> tuple[float, float]:
    """Return the resident MB after `first` and after `last` requests in all."""
    asked, sizes, deadline = 0, [], time.monotonic() + MEMORY_DEADLINE_S
    for count in (first, last):
        while asked < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {asked} requests in {MEMORY_DEADLINE_S} s")
            asked += whole_answers(subject, MEMORY_LOAD_S).requests
        sizes.append(rss_bytes(subject.pid) / 1e6)
    return sizes[0], sizes[1]


def _check(seen: dict) -> None:
    if seen["failed"]:
        raise RuntimeError(f"streams have failed: {seen}")
