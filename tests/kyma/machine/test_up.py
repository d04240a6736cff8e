"""`manage.py up` for real: a state folder, ports and databases of its own, every program."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import requests
from django.db import connection

from kyma.machine import processes
from kyma.machine.supervisor import SupervisorError
from kyma.management.commands.up import make_private_folders, refuse_production
from tests.support import migrated
from tests.support.databases import new_on_server
from tests.support.live import eventually
from tests.support.ports import free_port, strangers_on

ROOT = Path(__file__).resolve().parents[3]
START_DEADLINE_S = 120
STOP_DEADLINE_S = 60
PROGRAMS = {"web", "worker", "beat", "redis", "local_provider"}
REAL_MODEL = {"KYMA_LOCAL_ENGINE": ""}
NO_MODEL = {"KYMA_LOCAL_ENGINE": "fallback"}


class Machine:
    """A state folder, with a port and databases of its own. The inner ports Kyma finds itself."""

    root = ROOT

    def __init__(self, state_dir: Path):
        self.state_dir = state_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            **new_databases(),
            "REDIS_URL": "",
            "KYMA_STATE_DIR": str(state_dir),
        }
        for variable in ("KYMA_REDIS_PORT", "LOCAL_PROVIDER_URL"):
            self.environment.pop(variable, None)

    def inner_ports(self) -> dict[str, int]:
        return json.loads((self.state_dir / "ports.json").read_text())

    def mode_of(self, name: str) -> int:
        return stat.S_IMODE((self.state_dir / name).stat().st_mode)


class InClone(Machine):
    """A Kyma in a copy of the code, whose environment names nothing: only the port differs."""

    def __init__(self, root: Path):
        super().__init__(root / "var")
        self.root = root
        self.environment |= {"DATABASE_URL": "", "KEYRING_DATABASE_URL": ""}
        self.environment |= {"DJANGO_SETTINGS_MODULE": "quick_settings"}
        del self.environment["KYMA_STATE_DIR"]


class Up:
    """One run of `manage.py up`. As a context manager it leaves nothing running."""

    def __init__(self, machine: Machine, **environment: str):
        self.machine = machine
        self._environment = {**machine.environment, **environment}
        self._output = machine.state_dir.with_name(f"output-{uuid.uuid4().hex}")
        self._process: subprocess.Popen | None = None
        self._family: set[tuple[int, int]] = set()

    def start(self) -> None:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--port", str(self.machine.port)],
                cwd=self.machine.root,
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    def __enter__(self) -> "Up":
        return self

    def __exit__(self, *exc_info) -> None:
        if self._process is None:
            return
        self.family()
        self._process.kill()
        self._process.wait()
        for pid in self.survivors():
            processes.send(pid, signal.SIGKILL)

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while "Kyma is ready" not in self.output:
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def family(self) -> set[tuple[int, int]]:
        """Every process below it, by pid and start time; those seen before are remembered."""
        parents = {
            pid: parent_of(pid) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
        }
        below, last = set(), {self._process.pid}
        while last:
            last = {pid for pid, parent in parents.items() if parent in last}
            below |= last
        self._family |= {(pid, processes.started_at(pid)) for pid in below}
        return self._family

    def survivors(self) -> list[int]:
        return [pid for pid, start in self._family if start == processes.started_at(pid)]

    def pid_of(self, command: str) -> int:
        """The one process of the family whose command line, parted by NULs, has `command`."""
        self.family()
        (pid,) = [
            pid for pid in self.survivors() if command in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        return pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(STOP_DEADLINE_S)

    def find(self, pattern: str) -> str:
        match = re.search(pattern, self.output)
        assert match, self.output
        return match[1]


def parent_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def new_databases() -> dict[str, str]:
    """Two empty databases on the server that the tests run on; on SQLite, files by default."""
    if connection.vendor == "sqlite":
        return {"DATABASE_URL": "", "KEYRING_DATABASE_URL": ""}
    return {
        variable: new_on_server(variable, is_migrated=False)
        for variable in ("DATABASE_URL", "KEYRING_DATABASE_URL")
    }


def migrate_beforehand(state_dir: Path) -> None:
    """Put migrated SQLite databases into `state_dir`: only the first start has to make its own."""
    state_dir.mkdir(mode=0o700, parents=True)
    names = {"default": "kyma.sqlite3", "keyring": "keyring.sqlite3"}
    migrated.copy_sqlite({alias: state_dir / name for alias, name in names.items()})


@pytest.fixture
def machine(tmp_path, django_db_setup):  # The engine of the other tests, in each run.
    return Machine(tmp_path / "state")


@pytest.fixture
def machine_on_sqlite(tmp_path):
    migrate_beforehand(tmp_path / "state")
    return Machine(tmp_path / "state")


@pytest.fixture
def clone(tmp_path):
    root = tmp_path / "clone"
    apps = ("accounts", "billing", "chat", "gateway", "kyma", "privacy", "templates")
    for folder in (*apps, "tests/support/djstripe_schema"):
        shutil.copytree(ROOT / folder, root / folder)
    for file in ("manage.py", "tests/__init__.py", "tests/support/__init__.py"):
        shutil.copy2(ROOT / file, root / file)
    (root / "quick_settings.py").write_text(
        "from kyma.settings import *\n"
        "MIGRATION_MODULES = {'djstripe': 'tests.support.djstripe_schema'}\n"
    )
    return root


def test_a_first_start_shows_login_key_and_a_question_and_a_second_the_same_login(machine):
    with Up(machine, **REAL_MODEL) as first:
        first.start()
        first.wait_until_ready()
        assert {one.stem for one in (machine.state_dir / "log").glob("*.log")} == PROGRAMS
        assert machine.mode_of(".") == 0o700
        assert machine.mode_of("first_run.json") == 0o600
        assert requests.get(f"{machine.url}/ready", timeout=5).json()["status"] == "ready"

        login = json.loads((machine.state_dir / "first_run.json").read_text())
        assert first.find(r"E-mail +(\S+)") == login["email"]
        assert first.find(r"Password +(\S+)") == login["password"]
        key = first.find(r"API key +(kyma-\w{40}) ")
        link = first.find(r"(?m)^http://localhost:\d+(/mailbox\?token=\S+)$")
        assert requests.get(f"{machine.url}/mailbox", timeout=5).status_code == 404
        assert requests.get(f"{machine.url}{link}", timeout=5).url == f"{machine.url}/mailbox"
        answer = json.loads(run(first.find(r"(?m)^  (curl .*)$"), machine))
        assert answer["model"] == "smollm2-135m"
        assert "Tokyo" in answer["choices"][0]["message"]["content"]
        assert answer["usage"]["cost"] > 0

        assert len(first.family()) >= len(PROGRAMS)
        first.send(signal.SIGTERM)
        assert first.wait() == 0, first.output
        assert first.survivors() == []
        assert not (machine.state_dir / "run.json").exists()

    ports = machine.inner_ports()
    with (
        strangers_on(ports.values()),
        Up(machine, **NO_MODEL, DRAIN_NOTICE_S="600") as second,
    ):
        second.start()
        second.wait_until_ready()
        assert not set(ports.values()) & set(machine.inner_ports().values())
        assert requests.get(f"{machine.url}/ready", timeout=5).json()["status"] == "ready"
        assert second.find(r"Password +(\S+)") == login["password"]
        assert key not in second.output
        assert "about 40 s" not in second.output
        question = second.find(r"(?m)^  (KEY=.*\n  curl .*)$")
        assert json.loads(run(question, machine))["usage"]["cost"] > 0

        assert len(second.family()) >= len(PROGRAMS)
        second.send(signal.SIGINT)
        eventually(lambda: "Ctrl-C again to hurry" in second.output)
        second.send(signal.SIGINT)  # Else it would wait for ten minutes.
        assert second.wait() == 0, second.output
        assert second.survivors() == []


@pytest.mark.proof
def test_what_kill_9_leaves_behind_ends_by_itself_or_at_the_next_start(machine_on_sqlite):
    machine = machine_on_sqlite
    with Up(machine, **NO_MODEL) as killed, Up(machine, **NO_MODEL) as following:
        killed.start()
        killed.wait_until_ready()
        assert len(killed.family()) >= len(PROGRAMS)
        hung = killed.pid_of("manage.py\0web")
        os.kill(hung, signal.SIGSTOP)
        killed.send(signal.SIGKILL)
        killed.wait()
        # Its helper process ends with it.
        eventually(lambda: [one for one in killed.survivors() if parent_of(one) != hung] == [hung])

        following.start()
        following.wait_until_ready()
        eventually(killed.survivors, lambda pids: not pids)
        assert "Stopped what an earlier run had left behind" in following.output

        os.kill(following.pid_of("local_provider"), signal.SIGKILL)
        assert following.wait() == 1
        log = machine.state_dir / "log" / "local_provider.log"
        assert (
            f"The local_provider process has ended unexpectedly (killed by SIGKILL). Its log: {log}"
        ) in following.output
        assert following.survivors() == []


@pytest.mark.proof
def test_two_kymas_of_one_clone_run_side_by_side_and_none_runs_twice(clone):
    one, other = InClone(clone), InClone(clone)
    own_folder = clone / "var" / f"port-{other.port}"
    migrate_beforehand(clone / "var")
    with Up(one, **NO_MODEL) as first, Up(other, **NO_MODEL) as second:
        first.start()
        eventually(lambda: "Starting Kyma" in first.output, within_s=START_DEADLINE_S)
        second.start()
        for up in (first, second):
            up.wait_until_ready()
            answer = json.loads(run(up.find(r"(?m)^  (curl .*)$"), up.machine))
            assert answer["usage"]["cost"] > 0
            assert requests.get(f"{up.machine.url}/ready", timeout=5).json()["status"] == "ready"

        assert f"Its state lies in {clone}/var\n" in first.output
        assert f"Its state lies in {own_folder}\n" in second.output
        assert "of its own" not in first.output
        assert f"chats lie in var/port-{other.port}." in second.output
        ports = json.loads((own_folder / "ports.json").read_text())
        assert len({*one.inner_ports().values(), *ports.values()}) == 4

        with Up(one) as again, Up(other) as once_more:
            again.start()
            once_more.start()
            for up, folder in ((again, clone / "var"), (once_more, own_folder)):
                assert up.wait() == 1
                port = up.machine.port
                assert f"Kyma already runs on {folder} (http://localhost:{port}, " in up.output
                assert up.output.rstrip().endswith(f"make run PORT={port + 1}")

    assert not list((clone / "var").glob(f"port-{one.port}"))


def test_a_taken_port_is_said_before_anything_is_started(machine):
    with strangers_on([machine.port]), Up(machine) as up:
        up.start()
        assert up.wait() == 1
        assert re.match(rf"Port {machine.port} is taken by another program\. .*PORT=", up.output)
        assert not list((machine.state_dir / "log").iterdir())


def test_it_is_not_for_production(settings):
    settings.PRODUCTION = True
    with pytest.raises(SupervisorError, match="manage.py web"):
        refuse_production()


def test_it_refuses_a_folder_that_everybody_may_write_to(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: None)
    tmp_path.chmod(0o1777)
    settings.STATE_DIR, settings.STATIC_ROOT = tmp_path, tmp_path / "static"
    with pytest.raises(SupervisorError, match="a folder of its own"):
        make_private_folders()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def run(command: str, machine: Machine) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=machine.root,
        env=machine.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
