"""How each route is doing, as this process sees it: its breaker, how soon it begins to answer and
how fast it writes.

Belongs to one process and is never shared. A new one begins with what the request log tells
(`route_history.py`); all else it learns from its own requests.
"""

import dataclasses
from collections import defaultdict, deque

from gateway.dialects.request import CHAT

WINDOW_S = 30.0
LEAST_ATTEMPTS = 20
MOST_FAILURES = 0.5
PROBE_INTERVAL_S = 10.0
LEAST_WRITING_S = 0.1
WEIGHT = 0.2  # Of the newest latency and speed in their moving averages.


@dataclasses.dataclass(slots=True)
class RouteHealth:
    """Opens at 50 % failures of at least 20 attempts in 30 s; then it is probed every 10 s. Open
    too for as long as its provider has asked not to be asked.

    A probe begins with its attempt, not where routes are put in order: the request may be refused
    in between, and would have used up the probe. So those that were put in order within the same
    few milliseconds probe too.
    """

    latency_ms: float | None = None
    tokens_per_s: float | None = None
    _attempts: deque[tuple[float, bool]] = dataclasses.field(default_factory=deque)
    _failures: int = 0
    _is_open: bool = False
    _next_probe_at: float = 0.0
    _rests_until: float = 0.0

    def succeeded(self, now: float, latency_ms: float | None = None) -> None:
        """A route that answers is closed again, whatever came before.

        `latency_ms` is the time to the first token, where the answer came as a stream.
        """
        if self._is_open:
            self._is_open = False
            self._attempts.clear()
            self._failures = 0
        self._note(now, failed=False)
        if latency_ms is not None:
            self.latency_ms = _average(self.latency_ms, latency_ms)

    def wrote(self, tokens_per_s: float) -> None:
        """A stream came to its end at this speed."""
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
        """Whether to try other routes first. False also for those that may probe."""
        return now < self._rests_until or (self._is_open and now < self._next_probe_at)

    @property
    def has_tripped(self) -> bool:
        """Whether the breaker is open, probes or not."""
        return self._is_open

    def begin(self, now: float) -> None:
        """An attempt begins: through an open breaker it is a probe, and the next one waits."""
        if self._is_open:
            self._next_probe_at = now + PROBE_INTERVAL_S

    def _note(self, now: float, *, failed: bool) -> None:
        self._attempts.append((now, failed))
        self._failures += failed
        while self._attempts[0][0] < now - WINDOW_S:
            self._failures -= self._attempts.popleft()[1]


def tells_speed(writing_s: float) -> bool:
    """Whether an answer was written for that long: what came in a moment came in one piece."""
    return writing_s >= LEAST_WRITING_S


def _average(old: float | None, new: float) -> float:
    return new if old is None else old + WEIGHT * (new - old)


_health: defaultdict[tuple[str, str], RouteHealth] = defaultdict(RouteHealth)


def of(route_id: str, path: str = CHAT.path) -> RouteHealth:
    """The health of a route at one endpoint, in this process.

    Each by itself: a provider that lacks one endpoint is no worse at the others.
    """
    return _health[route_id, path]


def begin_with(history: dict[str, RouteHealth]) -> None:
    """Take over what is known of routes, at chat, that this process hasn't tried itself."""
    for route_id, health in history.items():
        _health.setdefault((route_id, CHAT.path), health)
