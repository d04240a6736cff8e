"""How long the database has been silent, by what the writer of the queue reports."""

import pytest

from gateway.commits import silence
from gateway.commits.silence import FORGOTTEN_AFTER_S, Silence


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(silence, "time", clock)
    return clock


def test_it_begins_when_a_batch_is_not_answered(clock):
    quiet = Silence()
    assert quiet.seconds == 0
    quiet.asked()
    clock.now += 60
    assert quiet.seconds == 60
    quiet.answered(ends=True)
    assert quiet.seconds == 0


def test_failures_one_after_the_other_are_one_silence(clock):
    quiet = Silence()
    for _ in range(4):
        quiet.asked()
        quiet.failed()
        clock.now += 1
    assert quiet.seconds == 4


def test_an_undoing_without_effect_ends_no_silence(clock):
    quiet = Silence()
    quiet.asked()
    quiet.failed()
    clock.now += 1
    quiet.asked()
    quiet.answered(ends=False)
    assert quiet.seconds == 1


def test_a_failure_is_forgotten_so_that_a_process_without_requests_is_ready_again(clock):
    quiet = Silence()
    quiet.asked()
    quiet.failed()
    clock.now += FORGOTTEN_AFTER_S + 1
    assert quiet.seconds == 0
    quiet.asked()
    clock.now += 1
    assert quiet.seconds == 1
