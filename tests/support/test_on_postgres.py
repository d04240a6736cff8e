import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import on_postgres
from tests.support.live import eventually

ROOT = Path(__file__).resolve().parents[2]
SAY_THE_URLS = "import os; print(os.environ['DATABASE_URL'], os.environ['KEYRING_DATABASE_URL'])"
TELL_AND_STAY = "import time; print('running', flush=True); time.sleep(60)"


@pytest.fixture
def start():
    """Starts a command on a Postgres of its own."""
    started = []

    def start(*command):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.on_postgres", *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    on_postgres.remove_stale()


def folders_of(process):
    return list(on_postgres.FOLDER.glob(f"{on_postgres.PREFIX}{process.pid}-*"))


def test_the_command_gets_two_databases_and_its_exit_code_is_handed_on(start):
    process = start("python", "-c", f"{SAY_THE_URLS}; raise SystemExit(3)")
    first, second = process.communicate()[0].split()
    assert process.returncode == 3
    assert first != second
    assert folders_of(process) == []


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.proof)]
)
def test_a_signal_ends_the_command_and_the_server(start, number):
    process = start("python", "-c", TELL_AND_STAY)
    assert process.stdout.readline() == "running\n"
    assert folders_of(process)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert folders_of(process) == []


@pytest.mark.proof
def test_what_kill_9_leaves_is_removed_by_the_next(start):
    killed = start("python", "-c", TELL_AND_STAY)
    killed.stdout.readline()
    (folder,) = folders_of(killed)
    server = int((folder / "postmaster.pid").read_text().split()[0])
    killed.kill()
    killed.wait()
    assert start("true").wait() == 0
    assert not folder.exists()
    eventually(lambda: not Path(f"/proc/{server}").exists())
