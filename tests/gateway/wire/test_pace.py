import pytest

from gateway.wire.pace import Pace


@pytest.fixture(autouse=True)
def rate(settings):
    settings.BODY_TIMEOUT_S, settings.BODY_BYTES_PER_S = 10.0, 10_000


def test_a_body_has_ten_seconds_before_its_rate_counts():
    assert Pace(100).due_at == 110


def test_at_its_rate_a_body_may_take_as_long_as_it_likes():
    pace = Pace(0)
    for second in range(1, 1000):
        assert pace.came(10_000, second) >= second + 9


def test_a_little_slower_it_ends():
    pace = Pace(0)
    ends = next(second for second in range(1000) if pace.came(9_000, second) < second + 1)
    assert 80 < ends < 120


def test_a_fast_beginning_earns_no_long_silence():
    assert Pace(0).came(9_900_000, 1) == 11
