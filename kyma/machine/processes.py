"""Processes as the kernel shows them below /proc.

A process is identified by pid and start time: a pid alone may belong to another one by now.
"""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

PROC = Path("/proc")
# The places of fields in /proc/PID/stat, counted from the end of the name in parentheses.
_STATE, _SESSION, _START_TIME = 0, 3, 19
STALE_STOP_TIMEOUT_S = 5.0
POLL_S = 0.05


def started_at(pid: int) -> int | None:
    """Return the start time of `pid`, in clock ticks since boot; None if it has ended."""
    fields = _stat(pid)
    return int(fields[_START_TIME]) if fields else None


def in_session(session: int) -> list[int]:
    """Return each process that still runs in `session`, which bears its first process's pid."""
    pids = [int(path.name) for path in PROC.glob("[0-9]*")]
    return [pid for pid in pids if (stat := _stat(pid)) and int(stat[_SESSION]) == session]


def _stat(pid: int) -> list[str] | None:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        # A process whose first thread has ended holds its ports until the last one has.
        has_ended = fields[_STATE] in "ZX" and len(os.listdir(PROC / str(pid) / "task")) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if has_ended else fields


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to `pid`, and ignore that it may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_session(session: int) -> None:
    """End at once each process that still runs in `session`."""
    for pid in in_session(session):
        send(pid, signal.SIGKILL)


class RunFile:
    """The processes that a run has started, so the next run can end those that a crash left.

    Each of them leads a session of its own and has `mark`, a NAME=VALUE, in its environment.
    """

    def __init__(self, path: Path, mark: str):
        self._path = path
        self._mark = mark.encode()

    def write(self, pids: list[int]) -> None:
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps([{"pid": pid, "start_time": started_at(pid)} for pid in pids]))
        draft.replace(self._path)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def stop_stale(self) -> int:
        """End the processes that the last run left behind. Returns their number."""
        recorded = self._read()
        stale = self._left_over(recorded)
        for pid in stale:
            send(pid, signal.SIGINT)  # The kernel sent SIGTERM when their parent died.
        self._wait_for_the_end(recorded)
        for pid in self._left_over(recorded):
            send(pid, signal.SIGKILL)
        self._wait_for_the_end(recorded)  # Until then they hold their ports.
        self.remove()
        return len(stale)

    def _wait_for_the_end(self, recorded: list[dict]) -> None:
        deadline = time.monotonic() + STALE_STOP_TIMEOUT_S
        while self._left_over(recorded) and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _read(self) -> list[dict]:
        try:
            return json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return []

    def _left_over(self, recorded: list[dict]) -> set[int]:
        return {pid for one in recorded for pid in self._left_of(**one)}

    def _left_of(self, pid: int, start_time: int) -> list[int]:
        """Return the processes left of the session that `pid` led, none if the pid was reused."""
        leader_started_at = started_at(pid)
        if leader_started_at == start_time:
            return in_session(pid)
        if leader_started_at is not None:
            return []
        return [member for member in in_session(pid) if self._mark in _environment(member)]


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
