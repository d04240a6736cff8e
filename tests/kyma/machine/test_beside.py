"""A second Kyma beside a first, in one process; tests/kyma/test_up.py runs two for real."""

import pytest

from kyma.machine import beside
from kyma.machine.supervisor import AlreadyRuns, SupervisorError
from kyma.management.commands.up import Command


@pytest.fixture
def nothing_named(monkeypatch):
    for variable in beside.NOT_TO_BE_SHARED:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("variable", beside.NOT_TO_BE_SHARED)
def test_nothing_that_the_environment_names_is_shared(nothing_named, monkeypatch, variable):
    assert beside.is_possible(8001)
    monkeypatch.setenv(variable, "somewhere")
    assert not beside.is_possible(8001)


@pytest.mark.parametrize(
    ("port", "running_port"),
    [
        pytest.param(beside.DEFAULT_PORT, 8001, id="the default port keeps the usual folder"),
        pytest.param(8001, 8001, id="the same Kyma"),
        pytest.param(8001, None, id="perhaps the same Kyma"),
    ],
)
def test_a_kyma_that_may_be_the_one_that_runs_gets_no_other_folder(
    nothing_named, tmp_path, port, running_port
):
    running = AlreadyRuns(tmp_path, "123", running_port)
    with pytest.raises(SupervisorError, match=r"already runs on .*make run PORT=800\d"):
        Command()._start_beside(running, port)
