"""Ctrl-C and SIGTERM end `manage.py up`, wherever they find it."""

import signal

import pytest

from kyma.machine.supervisor import Stopped, StopSignals

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def signals():
    before = {number: signal.getsignal(number) for number in ASKING}
    yield StopSignals()
    for number, handler in before.items():
        signal.signal(number, handler)


class RaisesAsItGoes:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_dropped_is_found_again(signals):
    signals.check()
    RaisesAsItGoes()
    with pytest.raises(Stopped):
        signals.check()
    signals.stopping()
    signals.check()
    assert not signals.hurry()
    signal.raise_signal(signal.SIGTERM)
    assert signals.hurry()
