"""The helper process: what it gets, what ends it, and what its callers see meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.untrusted import helper as helpers
from gateway.untrusted.helper import Helper, answered, answered_soon
from tests.support.live import ROOT, eventually

# Each repetition doubles the time that Pygments takes for it: days.
EXPONENTIAL = "int f()" + "//\\\n" * 40 + "x"
HONEST = ["python", "return 1"]
SHOWN = '<span class="k">return</span>'


@pytest.fixture
def helper():
    one = Helper()
    yield one
    one.close()


def highlighted(helper: Helper, *codes: list[str]) -> dict:
    return answered(helper.ask("highlight", codes))


def is_there(pid: int) -> bool:
    """Neither gone nor a zombie, which nobody may have waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_item_that_takes_forever_costs_its_own_time_and_no_other_result(helper):
    begun = time.monotonic()
    results = highlighted(helper, HONEST, ["c", EXPONENTIAL], HONEST, ["cobol", ""])
    assert SHOWN in results[0] == results[2]
    assert results[1] is results[3] is None
    assert time.monotonic() - begun < 10


def test_a_job_ends_in_time_and_says_how_far_it_came(helper, settings):
    highlighted(helper, HONEST)  # It has started.
    settings.UNTRUSTED_WAIT_S = 1.0
    begun = time.monotonic()
    results = highlighted(helper, HONEST, *[["c", f"{EXPONENTIAL}{n}"] for n in range(9)])
    assert time.monotonic() - begun < 1.5
    assert SHOWN in results[0]
    assert 8 not in results


def test_memory_files_and_core_dumps_are_limited(helper):
    highlighted(helper, HONEST)
    lines = Path(f"/proc/{helper.pid}/limits").read_text().splitlines()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    assert limits["Max address space"] == ["200000000"] * 2
    assert limits["Max core file size"] == limits["Max file size"] == ["0"] * 2


def test_it_knows_no_environment_no_open_file_and_no_django(helper, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    highlighted(helper, HONEST)
    process = Path(f"/proc/{helper.pid}")
    assert process.joinpath("environ").read_bytes() == b""
    opened = {os.readlink(fd).partition(":")[0] for fd in process.joinpath("fd").iterdir()}
    assert opened <= {"pipe", "/dev/null"}
    code = "import sys; import gateway.untrusted.child; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in child.stdout.split()}
    assert "pygments" in loaded
    assert not loaded & {"django", "orjson", "accounts", "billing", "chat", "kyma"}


def test_a_killed_helper_is_started_again(helper):
    highlighted(helper, HONEST)
    first = helper.pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not is_there(first))
    assert SHOWN in highlighted(helper, HONEST)[0]
    assert helper.pid != first


def test_one_that_dies_again_and_again_is_started_ever_less_often(helper, monkeypatch):
    starts = []

    def start():
        starts.append(time.monotonic())
        return subprocess.Popen(
            ["false"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    monkeypatch.setattr(helpers, "_start", start)
    eventually(lambda: highlighted(helper, HONEST) == {} and len(starts) == 4)
    pauses = [after - before for before, after in zip(starts, starts[1:], strict=False)]
    assert pauses[1] > helpers._FIRST_PAUSE_S
    assert pauses[2] > 2 * helpers._FIRST_PAUSE_S
    monkeypatch.undo()
    eventually(lambda: SHOWN in highlighted(helper, HONEST).get(0, ""))


def test_a_frozen_helper_holds_up_nobody_for_long(helper, settings, monkeypatch):
    monkeypatch.setattr(helpers, "_SLACK_S", 0.1)
    highlighted(helper, HONEST)
    settings.UNTRUSTED_WAIT_S = 0.3
    frozen = helper.pid
    os.kill(frozen, signal.SIGSTOP)
    begun = time.monotonic()
    assert highlighted(helper, ["python", "x" * 300_000]) == {}
    assert time.monotonic() - begun < 1
    eventually(lambda: not is_there(frozen))


def test_beyond_the_queue_the_answer_is_there_at_once(monkeypatch):
    monkeypatch.setattr(helpers, "MOST_WAITING", 1)
    helper = Helper()
    try:
        jobs = [helper.ask("highlight", [["c", EXPONENTIAL]]) for _ in range(3)]
        assert jobs[-1].done()
        assert jobs[-1].result() == {}
    finally:
        helper.close()


def test_an_event_loop_goes_on_meanwhile(helper, settings):
    highlighted(helper, HONEST)
    settings.UNTRUSTED_WAIT_S = 0.5
    ticks = []

    async def tick():
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    async def story():
        ticking = asyncio.create_task(tick())
        jobs = [helper.ask("highlight", [["c", f"{EXPONENTIAL}{n}"]]) for n in range(5)]
        results = await asyncio.gather(*map(answered_soon, jobs))
        ticking.cancel()
        return results

    assert len(asyncio.run(story())) == 5
    assert max(b - a for a, b in zip(ticks, ticks[1:], strict=False)) < 0.25


PARENT = """
import os, sys, time
from gateway.untrusted.helper import helper
helper.ask("highlight", [["python", "x"]]).result()
print(helper.pid, flush=True)
if sys.argv[1] == "busy":
    helper.ask("highlight", [["c", sys.argv[2]]])
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("sent", "doing"),
    [(signal.SIGKILL, "busy"), (signal.SIGKILL, "idle"), (signal.SIGINT, "idle")],
)
def test_it_ends_with_its_parent(sent, doing):
    command = [sys.executable, "-c", PARENT, doing, EXPONENTIAL]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        pid = int(parent.stdout.readline())
        assert is_there(pid)
        parent.send_signal(sent)
        parent.wait()
        eventually(lambda: not _session(pid), within_s=5)


def _session(leader: int) -> list[int]:
    """The processes of a session that are there: the helper and those that do its jobs."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = path.joinpath("stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z" and int(fields[3]) == leader:
            found.append(int(path.name))
    return found
