"""How well a route serves, as its attempts tell, and what of that everybody may see."""

import datetime as dt
from collections import Counter

import pytest

from gateway.analytics import levels, route_tally
from gateway.analytics.levels import Level, rough
from gateway.analytics.periods import DAY, HOUR
from gateway.analytics.route_tally import ServiceTally
from gateway.failures import Declined, Overloaded
from tests.support.factories import make_route
from tests.support.gateway.served import folded, serve

NOW = dt.datetime.now(dt.UTC)


def attempt(status: int | None = 200, error: str | None = None) -> dict:
    found = {"route": "r", "provider": "p", "status": status, "ms": 5.0}
    return found if error is None else {**found, "error": error}


FAILED = {
    "answered": (attempt(), [False]),
    "broken off": (attempt(200, "broken"), [True]),
    "at capacity": (attempt(429, Overloaded.fault), [True]),
    "not reached": (attempt(None, "refused"), [True]),
    "declined what was asked": (attempt(400, Declined.fault), [False]),
    "left by its client": (attempt(None), []),
}


@pytest.mark.parametrize("name", FAILED)
def test_an_attempt_failed_where_the_provider_was_at_fault(name):
    one, expected = FAILED[name]
    assert [failed for _, failed in route_tally.verdicts([one])] == expected


def test_the_speed_is_that_of_the_writing():
    tally = ServiceTally()
    tally.add_answer(route_tally.Writing(True, 50, 300.0, 1300.0))
    tally.add_answer(route_tally.Writing(True, 50, 300.0, 2300.0))
    assert (tally.streams, tally.output_tokens, tally.writing_ms) == (2, 100, 3000)


def test_what_came_in_one_piece_tells_no_speed():
    tally = ServiceTally()
    tally.add_answer(route_tally.Writing(True, 50, 300.0, 310.0))
    tally.add_answer(route_tally.Writing(False, 50, 300.0, 3000.0))
    assert tally.streams == 0
    assert tally.latency.total() == 2
    assert tally.first_token.total() == 1


def test_an_answer_is_timed_from_when_its_route_was_asked():
    attempts = [attempt(500, "faulty"), attempt()]
    found = route_tally.writing("finished", True, 9, 905.0, 1905.0, attempts)
    assert found == route_tally.Writing(True, 9, 5.0, 1005.0)


# --- Small cells ---------------------------------------------------------------------------------


def test_nineteen_samples_show_nothing():
    times = Counter({50: 19})
    level = Level.of(ServiceTally(19, 3, 19, 100, 1000, times, times))
    assert (level.uptime, level.samples, level.tokens_per_second, level.streams) == (
        None,
        0,
        None,
        0,
    )
    assert level.first_token.p50_ms is level.latency.p95_ms is None
    assert level.latency.samples == 0


def test_twenty_samples_show_a_figure():
    times = Counter({50: 20})
    level = Level.of(ServiceTally(20, 1, 20, 100, 1000, times, times))
    assert (level.uptime, level.samples, level.tokens_per_second) == (95.0, 20, 100)
    assert level.latency.p50_ms == pytest.approx(10 ** (50 / 30), rel=0.05)


def test_the_uptime_is_rounded_down():
    assert Level.of(ServiceTally(100_000, 1)).uptime == 99.9
    assert Level.of(ServiceTally(100_000, 0)).uptime == 100.0


def test_a_share_of_few_is_told_in_whole_percents():
    """20 of 21 would be 95.2 %, and tell how many there were."""
    shown = {Level.of(ServiceTally(count, 1)).uptime for count in range(20, 25)}
    assert shown == {95.0}


@pytest.mark.parametrize(
    ("count", "shown"), [(0, 0), (19, 0), (20, 20), (49, 20), (50, 50), (199, 100), (10**6, 10**6)]
)
def test_how_many_samples_there_were_is_said_roughly(count, shown):
    assert rough(count) == shown


# --- The last 24 hours and 30 days ---------------------------------------------------------------


def test_a_history_has_the_last_day_and_each_of_thirty(alice):
    route, account = make_route(), alice.credit_account
    for ago, count in ((DAY * 40, 9), (DAY * 10, 3), (HOUR * 30, 2), (HOUR, 1)):
        serve(route, account, count, at=NOW - ago)
    folded()
    history = levels.read(NOW)[route.id]
    assert history.last_24_hours.attempts == 1
    assert history.last_30_days.attempts == 6
    assert history.days[(NOW - DAY * 10).date()].attempts == 3


def test_histories_add_up(alice):
    routes = [make_route("m"), make_route("m")]
    for route, count in zip(routes, (2, 3), strict=True):
        serve(route, alice.credit_account, count)
    serve(routes[0], alice.credit_account, 1, fault="silent")
    folded()
    whole = levels.History.sum(levels.read(NOW).values())
    assert (whole.last_24_hours.attempts, whole.last_24_hours.failures) == (6, 1)
    assert whole.last_30_days.attempts == 6
