import json
import subprocess
import sys

import pytest

from kyma.machine import processes
from kyma.machine.processes import RunFile
from tests.support.live import eventually

MARK = "KYMA_STATE_DIR=/somewhere/var"
SLEEP = "import time; time.sleep(60)"
# Only when it runs Python can its environment be read: right after the exec it may be empty.
SAY_PID_AND_SLEEP = f"import os; print(os.getpid(), flush=True); {SLEEP}"
# Ends at once and leaves a child behind, which prints its pid.
LEAVE_A_CHILD = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {SAY_PID_AND_SLEEP!r}])
"""


@pytest.fixture
def start():
    """Starts Python in a session of its own, killed after the test with all that is in it."""
    started = []

    def start(code, *, marked=True):
        name, value = MARK.split("=")
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={name: value if marked else "/elsewhere"},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        processes.kill_session(process.pid)
        process.wait()
        process.stdout.close()


@pytest.fixture
def run_file(tmp_path):
    return RunFile(tmp_path / "run.json", MARK)


def test_what_was_recorded_is_ended(start, run_file):
    process = start(SLEEP)
    run_file.write([process.pid])
    assert run_file.stop_stale() == 1
    assert processes.started_at(process.pid) is None
    assert run_file.stop_stale() == 0


def test_a_process_that_has_only_the_same_pid_is_left_alone(start, run_file, tmp_path):
    process = start(SLEEP)
    record = {"pid": process.pid, "start_time": processes.started_at(process.pid) - 1}
    (tmp_path / "run.json").write_text(json.dumps([record]))
    assert run_file.stop_stale() == 0
    assert process.poll() is None


@pytest.mark.parametrize("marked", [True, False])
def test_a_child_that_outlived_its_leader_is_ended_if_it_bears_the_mark(
    start, run_file, tmp_path, marked
):
    leader = start(LEAVE_A_CHILD, marked=marked)
    child = int(leader.stdout.readline())
    leader.wait()
    (tmp_path / "run.json").write_text(json.dumps([{"pid": leader.pid, "start_time": 1}]))
    assert run_file.stop_stale() == (1 if marked else 0)
    eventually(lambda: (processes.started_at(child) is None) == marked)


@pytest.mark.parametrize("content", [None, "", "[{"])
def test_without_a_readable_file_there_is_nothing_to_end(run_file, tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert run_file.stop_stale() == 0
