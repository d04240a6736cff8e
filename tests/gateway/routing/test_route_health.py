"""The breaker and the moving average, by a clock that the tests hold."""

from gateway.routing.health import RouteHealth


def failed(times: int, *, of: int, at: float = 0.0) -> RouteHealth:
    """A route that has failed `times` of `of` attempts, its failures last."""
    health = RouteHealth()
    for _ in range(of - times):
        health.succeeded(at)
    for _ in range(times):
        health.failed(at)
    return health


def test_it_opens_at_half_of_at_least_twenty_attempts():
    assert not failed(19, of=19).is_open(0)
    assert not failed(9, of=20).is_open(0)
    assert failed(10, of=20).is_open(0)


def test_failures_are_forgotten_after_thirty_seconds():
    health = failed(19, of=19)
    health.failed(31)
    assert not health.is_open(31)


def test_an_open_route_is_probed_every_ten_seconds():
    health = failed(20, of=20)
    assert health.is_open(9.9)
    assert not health.is_open(10)
    health.begin(10)
    assert health.is_open(10)
    assert health.is_open(19.9)
    assert not health.is_open(20)


def test_a_look_that_leads_to_no_attempt_uses_up_no_probe():
    health = failed(20, of=20)
    assert not health.is_open(10), "this one is refused for another reason"
    assert not health.is_open(10.1)
    health.begin(10.1)
    assert health.is_open(10.2)


def test_a_probe_that_fails_keeps_it_open():
    health = failed(20, of=20)
    health.begin(10)
    health.failed(12)
    assert health.is_open(21.9)
    assert not health.is_open(22)


def test_a_probe_that_succeeds_closes_it_and_forgets_the_failures():
    health = failed(20, of=20)
    health.begin(10)
    health.succeeded(11)
    assert not health.is_open(11)
    health.failed(12)
    assert not health.is_open(12)


def test_the_latency_is_a_moving_average_of_streams():
    health = RouteHealth()
    health.succeeded(0, 100)
    assert health.latency_ms == 100
    health.succeeded(1, 200)
    assert health.latency_ms == 120
    health.succeeded(2)
    assert health.latency_ms == 120


def test_a_provider_that_is_busy_is_left_alone_for_as_long_as_it_says():
    health = RouteHealth()
    health.failed(100, retry_after_s=7)
    assert health.is_open(106.9)
    assert not health.is_open(107)
    assert not health.has_tripped
    health.failed(101)
    assert health.is_open(106.9)


def test_the_speed_is_a_moving_average():
    health = RouteHealth()
    assert health.tokens_per_s is None
    health.wrote(100)
    assert health.tokens_per_s == 100
    health.wrote(50)
    assert health.tokens_per_s == 90
