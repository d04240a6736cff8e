"""Replays the last minutes of the request log, so that a new process knows the routes' health.

Without this the process would send its first requests to a route that all others have long given
up. So it begins as if it had made their attempts itself, in order. If an answer broke off in the
middle, only the failure is replayed.
"""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.utils import timezone

from accounts.ids import first_id_at
from gateway.analytics import route_tally
from gateway.database import in_thread
from gateway.models import ApiRequest
from gateway.routing import health as route_health
from gateway.routing.health import RouteHealth

logger = logging.getLogger(__name__)

LOOK_BACK = dt.timedelta(minutes=10)
MOST_ROWS = 5000
TIMEOUT_S = 3.0
# The health of these endpoints is separate from that of chat, and isn't replayed.
OF_OTHER_ENDPOINTS = ("completions", "embeddings")


class Attempt(NamedTuple):
    """One attempt at a route; `latency_ms` is the time to the first token of a stream."""

    ended_at: dt.datetime
    route_id: str
    failed: bool
    latency_ms: float | None


async def learn() -> None:
    """Learn the routes' health when the process starts; without the database it starts anyway."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            route_health.begin_with(await in_thread(read))
    except (DatabaseError, TimeoutError) as error:
        logger.warning("the routes begin without a history: %s", type(error).__name__)


def read() -> dict[str, RouteHealth]:
    """Return the health of each route that was tried in the last minutes, by its id."""
    now = timezone.now()
    # The primary key begins with the time. A row without a price made no attempt.
    rows = ApiRequest.objects.filter(id__gte=first_id_at(now - LOOK_BACK))
    rows = rows.exclude(price_version=None).exclude(api__in=OF_OTHER_ENDPOINTS)
    rows = rows.order_by("-id")[:MOST_ROWS]
    columns = rows.values_list("created_at", "streamed", "attempts")
    return replay((one for row in columns for one in attempts_of(*row)), now)


def replay(attempts: Iterable[Attempt], now: dt.datetime) -> dict[str, RouteHealth]:
    """Return the health that a process would know at `now` after all these attempts."""
    found: dict[str, RouteHealth] = {}
    clock = time.monotonic()
    for one in sorted(attempts, key=lambda one: one.ended_at):
        health = found.setdefault(one.route_id, RouteHealth())
        # The clocks of two machines may differ; an attempt must not lie in the future.
        at = clock - max(0.0, (now - one.ended_at).total_seconds())
        if one.failed:
            health.failed(at)
        else:
            health.succeeded(at, one.latency_ms)
    return found


def attempts_of(created_at: dt.datetime, streamed: bool, attempts: list[dict]) -> Iterator[Attempt]:
    """Yield the attempts of one request that count for the health of their routes."""
    ended_at = created_at
    for attempt in attempts:
        ms = attempt.get("ms", 0)
        ended_at += dt.timedelta(milliseconds=ms)
        if route_tally.has_failed(attempt):
            yield Attempt(ended_at, attempt["route"], True, None)
        elif route_tally.has_answered(attempt):
            yield Attempt(ended_at, attempt["route"], False, ms if streamed else None)
