"""The health of each route as this process sees it: its breaker, its latency and its speed.

Each process has its own view and never shares it. A new process starts with figures from the
request log (`gateway/analytics/history.py`) and then learns from its own requests only.
"""

import dataclasses
from collections import defaultdict, deque

from gateway.dialects.request import CHAT

WINDOW_S = 30.0
LEAST_ATTEMPTS = 20
MOST_FAILURES = 0.5
PROBE_INTERVAL_S = 10.0
LEAST_WRITING_S = 0.1
WEIGHT = 0.2  # The weight of the newest value in a moving average of latency or speed.


@dataclasses.dataclass(slots=True)
class RouteHealth:
    """The circuit breaker of one route at one endpoint, with its latency and speed.

    The breaker opens when at least half of 20 or more attempts within 30 s have failed. Then one
    request probes the route every 10 s. The breaker also counts as open while the provider has
    asked for a pause.

    A probe starts with its attempt, not when routes are put in order: the request may be refused
    in between, and that would use up the probe. So several requests that order their routes within
    the same few milliseconds may all probe.
    """

    latency_ms: float | None = None
    tokens_per_s: float | None = None
    _attempts: deque[tuple[float, bool]] = dataclasses.field(default_factory=deque)
    _failures: int = 0
    _is_open: bool = False
    _next_probe_at: float = 0.0
    _rests_until: float = 0.0

    def succeeded(self, now: float, latency_ms: float | None = None) -> None:
        """Note an answer. It closes the breaker, no matter how many attempts failed before.

        `latency_ms` is the time to the first token of a streamed answer.
        """
        if self._is_open:
            self._is_open = False
            self._attempts.clear()
            self._failures = 0
        self._note(now, failed=False)
        if latency_ms is not None:
            self.latency_ms = _average(self.latency_ms, latency_ms)

    def wrote(self, tokens_per_s: float) -> None:
        """Note the speed of a stream that has ended."""
        self.tokens_per_s = _average(self.tokens_per_s, tokens_per_s)

    def failed(self, now: float, retry_after_s: int = 0) -> None:
        self._note(now, failed=True)
        self._rests_until = max(self._rests_until, now + retry_after_s)
        if self._is_open:
            self._next_probe_at = now + PROBE_INTERVAL_S
            return
        count = len(self._attempts)
        if count >= LEAST_ATTEMPTS and self._failures >= MOST_FAILURES * count:
            self._is_open = True
            self._next_probe_at = now + PROBE_INTERVAL_S

    def is_open(self, now: float) -> bool:
        """True when other routes should be tried first. False when a probe is due."""
        return now < self._rests_until or (self._is_open and now < self._next_probe_at)

    @property
    def has_tripped(self) -> bool:
        """True while the breaker is open, even when a probe is due."""
        return self._is_open

    def begin(self, now: float) -> None:
        """Note an attempt. If the breaker is open, it is a probe, so the next one waits."""
        if self._is_open:
            self._next_probe_at = now + PROBE_INTERVAL_S

    def _note(self, now: float, *, failed: bool) -> None:
        self._attempts.append((now, failed))
        self._failures += failed
        while self._attempts[0][0] < now - WINDOW_S:
            self._failures -= self._attempts.popleft()[1]


def tells_speed(writing_s: float) -> bool:
    """True when writing took long enough to measure. A shorter answer came in one piece."""
    return writing_s >= LEAST_WRITING_S


def _average(old: float | None, new: float) -> float:
    return new if old is None else old + WEIGHT * (new - old)


_health: defaultdict[tuple[str, str], RouteHealth] = defaultdict(RouteHealth)


def of(route_id: str, path: str = CHAT.path) -> RouteHealth:
    """Return the health of a route at one endpoint, as this process sees it.

    Each endpoint has its own: a provider that lacks one endpoint is no worse at the others.
    """
    return _health[route_id, path]


def begin_with(history: dict[str, RouteHealth]) -> None:
    """Start with this health at chat, except for routes that this process has tried itself."""
    for route_id, health in history.items():
        _health.setdefault((route_id, CHAT.path), health)
