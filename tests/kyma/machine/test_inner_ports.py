import contextlib
import json
import os
from types import SimpleNamespace

import pytest

from kyma import inner_ports
from kyma.machine import programs
from kyma.machine.supervisor import SupervisorError
from kyma.management.commands.up import MAX_PORT_CHANGES, PORT_CHANGES, Command
from tests.support.ports import free_port, strangers_on


def test_ports_are_found_once_and_remembered(tmp_path):
    folder = tmp_path / "new"
    found = inner_ports.remembered(folder)
    assert len(set(found.values())) == len(inner_ports.NAMES)
    assert inner_ports.remembered(folder) == found
    assert [path.name for path in folder.iterdir()] == ["ports.json"]


def test_of_two_processes_that_find_ports_at_once_the_first_counts(tmp_path, monkeypatch):
    firsts = {"redis": 4001, "local_provider": 4002}
    find = inner_ports._find

    def find_late():
        (tmp_path / "ports.json").write_text(json.dumps(firsts))
        return find()

    monkeypatch.setattr(inner_ports, "_find", find_late)
    assert inner_ports.remembered(tmp_path) == firsts


@pytest.mark.parametrize(
    "content", ["", "[", "[]", "{}", '{"redis": 4001}', '{"redis": "x", "local_provider": 0}']
)
def test_a_file_that_names_no_ports_is_replaced(tmp_path, content):
    (tmp_path / "ports.json").write_text(content)
    found = inner_ports.remembered(tmp_path)
    assert set(found) == set(inner_ports.NAMES)
    assert inner_ports.remembered(tmp_path) == found


@pytest.fixture
def remembered(settings, tmp_path, monkeypatch):
    """The inner ports of a state folder, which nothing in the environment names."""
    for variable in ("KYMA_REDIS_PORT", "LOCAL_PROVIDER_URL"):
        monkeypatch.delenv(variable, raising=False)
    ports = inner_ports.remembered(tmp_path)
    settings.STATE_DIR, settings.EMBEDDED_REDIS = tmp_path, True
    settings.REDIS_URL = f"redis://127.0.0.1:{ports['redis']}/0"
    settings.LOCAL_PROVIDER_URL = f"http://127.0.0.1:{ports['local_provider']}/v1"
    return ports


def test_free_inner_ports_are_kept(remembered, tmp_path):
    assert not programs.replace_taken_ports()
    assert inner_ports.remembered(tmp_path) == remembered


@pytest.mark.parametrize("name", inner_ports.NAMES)
def test_a_taken_inner_port_is_replaced(remembered, tmp_path, name):
    with strangers_on([remembered[name]]):
        assert programs.replace_taken_ports()
        found = inner_ports.remembered(tmp_path)
        assert found[name] != remembered[name]
        with strangers_on(found.values()):
            pass


@pytest.mark.parametrize(
    ("name", "variable"),
    [("redis", "KYMA_REDIS_PORT"), ("local_provider", "LOCAL_PROVIDER_URL")],
)
def test_a_taken_inner_port_that_the_environment_names_is_refused(
    remembered, tmp_path, monkeypatch, name, variable
):
    monkeypatch.setenv(variable, "as in the settings")
    with (
        strangers_on([remembered[name]]),
        pytest.raises(SupervisorError, match=f"{remembered[name]}, .* Without {variable} Kyma"),
    ):
        programs.replace_taken_ports()
    assert inner_ports.remembered(tmp_path) == remembered


class Became(Exception):
    """This process would be another program by now."""


def test_a_port_lost_while_kyma_starts_is_replaced_but_not_for_ever(
    remembered, tmp_path, monkeypatch, capsys
):
    def start(self, supervisor, listener):
        strangers.enter_context(strangers_on([remembered["redis"]]))
        raise SupervisorError("The redis process has ended unexpectedly")

    def become(path, command, environment):
        raise Became(environment[PORT_CHANGES])

    signals = SimpleNamespace(stopping=lambda: None, hurry=lambda: False)
    monkeypatch.setattr(Command, "_start", start)
    monkeypatch.setattr(os, "execve", become)
    command = Command()
    with contextlib.ExitStack() as strangers:
        with pytest.raises(Became, match="1"):
            command._run(free_port(), signals)
        assert inner_ports.remembered(tmp_path) != remembered

        command._port_changes = MAX_PORT_CHANGES
        with pytest.raises(SupervisorError, match="Start Kyma again"):
            command._run(free_port(), signals)


def test_a_start_that_fails_for_another_reason_isn_t_repeated(remembered, monkeypatch, capsys):
    def start(self, supervisor, listener):
        raise SupervisorError("The database can't be reached")

    signals = SimpleNamespace(stopping=lambda: None, hurry=lambda: False)
    monkeypatch.setattr(Command, "_start", start)
    with pytest.raises(SystemExit, match="1"):
        Command()._run(free_port(), signals)
    assert "can't be reached" in capsys.readouterr().err
