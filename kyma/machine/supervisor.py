"""Runs several programs as children of this process, and ends them with it.

Each child leads a session of its own, so a Ctrl-C at the terminal reaches this process alone,
which then ends them in order: first those that use others, then those that are used. The
kernel sends SIGTERM to a child whose parent has died (on Linux); what survives even that is
found through the run file at the next start.
"""

import dataclasses
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kyma.machine import processes
from kyma.machine.processes import RunFile

HURRY_TIMEOUT_S = 5.0
POLL_S = 0.05

# Asks the kernel for that SIGTERM, then becomes the program. A program of its own and not
# subprocess's preexec_fn, which may deadlock in a process that has threads (database pools).
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


class SupervisorError(Exception):
    """What keeps Kyma from running. `str(error)` tells the operator what to do."""


class Stopped(BaseException):
    """A signal asks for the end. No Exception, so that nothing on the way catches it."""


class StopSignals:
    """The first Ctrl-C, SIGTERM or hang-up raises Stopped; a later one says: hurry."""

    def __init__(self):
        self._is_asked = False
        self._is_stopping = False
        self._hurry = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, self._receive)

    def stopping(self) -> None:
        """From now on nothing is raised."""
        self._is_stopping = True

    def check(self) -> None:
        """Raises Stopped if it was raised where Python drops what is raised: in a destructor."""
        if self._is_asked and not self._is_stopping:
            raise Stopped

    def hurry(self) -> bool:
        return self._hurry

    def _receive(self, number, frame) -> None:
        if self._is_asked or self._is_stopping:
            self._hurry = True
        else:
            self._is_asked = True
            raise Stopped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    name: str
    command: list[str]
    stop_timeout_s: float
    is_used: bool = False  # by other programs, so it ends after them
    pass_fds: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Child:
    program: Program
    process: subprocess.Popen

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


class Supervisor:
    def __init__(
        self, *, directory: Path, logs: Path, environment: dict[str, str], run_file: RunFile
    ):
        self._directory = directory
        self.logs = logs
        self._environment = environment
        self._run_file = run_file
        self._children: list[_Child] = []

    def start(self, program: Program) -> None:
        log = self.log_of(program)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own programs
                _with_parent(program.command),
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=program.pass_fds,
            )
        self._children.append(_Child(program, process))
        self._run_file.write([child.process.pid for child in self._children])

    def log_of(self, program: Program) -> Path:
        return self.logs / f"{program.name}.log"

    def check(self) -> None:
        """Raises SupervisorError when a program has ended, which none should by itself."""
        for child in self._children:
            if not child.is_running:
                raise SupervisorError(
                    f"The {child.program.name} process has ended unexpectedly "
                    f"({_how(child.process.returncode)}). Its log: {self.log_of(child.program)}"
                )

    def stop(self, *, hurry: Callable[[], bool]) -> None:
        """End every program; at once where `hurry()` turns true."""
        for is_used in (False, True):
            self._end([one for one in self._children if one.program.is_used == is_used], hurry)
        self._children.clear()
        self._run_file.remove()

    def _end(self, children: list[_Child], hurry: Callable[[], bool]) -> None:
        for child in children:
            child.process.terminate()
        began_at, is_hurried = time.monotonic(), False
        while running := [child for child in children if child.is_running]:
            if hurry() and not is_hurried:
                began_at, is_hurried = time.monotonic(), True
                for child in running:
                    child.process.send_signal(signal.SIGINT)
            for child in running:
                timeout_s = child.program.stop_timeout_s
                if time.monotonic() - began_at > (HURRY_TIMEOUT_S if is_hurried else timeout_s):
                    processes.kill_session(child.process.pid)
            time.sleep(POLL_S)
        for child in children:
            processes.kill_session(child.process.pid)


def _with_parent(command: list[str]) -> list[str]:
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]


def _how(return_code: int) -> str:
    if return_code >= 0:
        return f"exit code {return_code}"
    return f"killed by {signal.Signals(-return_code).name}"


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold the lock file. Raises SupervisorError while another process does."""
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise SupervisorError(
                f"Kyma already runs on {lock.parent} (process {file.read().strip()}). "
                "Stop it first, or choose another folder: KYMA_STATE_DIR=…"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
