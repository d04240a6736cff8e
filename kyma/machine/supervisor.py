"""Runs several programs as children of this process, and ends them with it.

Each child leads a session of its own, so a Ctrl-C at the terminal reaches this process alone. It
then ends the children in order: a program that others use ends after them. On Linux the kernel
sends SIGTERM to a child whose parent has died; the next start finds through the run file any
process that survives even that.
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

# Asks the kernel for this SIGTERM, then becomes the program. It isn't subprocess's preexec_fn,
# which may deadlock in a process that has threads, such as those of database pools.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


class SupervisorError(Exception):
    """Kyma can't run. The text gives the operator the reason and the remedy."""


class AlreadyRuns(SupervisorError):
    """Another process has the state folder; `port` is that of its pages, None if unknown."""

    def __init__(self, folder: Path, pid: str, port: int | None):
        address = f"http://localhost:{port}, " if port else ""
        super().__init__(f"Kyma already runs on {folder} ({address}process {pid}).")
        self.port = port


class Stopped(BaseException):
    """A signal asks for the end. It isn't an Exception, so no handler on the way catches it."""


class StopSignals:
    """The first Ctrl-C, SIGTERM or hang-up raises Stopped; a later one asks to hurry."""

    def __init__(self):
        self._is_asked = False
        self._is_stopping = False
        self._hurry = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup sets that.
                signal.signal(number, self._receive)

    def stopping(self) -> None:
        """Raise nothing from now on."""
        self._is_stopping = True

    def check(self) -> None:
        """Raise Stopped again if Python dropped it, as it does with exceptions in destructors."""
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
    is_used: bool = False  # Other programs use it, so it ends after them.
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
        """Raise SupervisorError when a program has ended, as none should by itself."""
        for child in self._children:
            if not child.is_running:
                raise SupervisorError(
                    f"The {child.program.name} process has ended unexpectedly "
                    f"({_how(child.process.returncode)}). Its log: {self.log_of(child.program)}"
                )

    def stop(self, *, hurry: Callable[[], bool]) -> None:
        """End every program, at once as soon as `hurry()` is true."""
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
def only_one(lock: Path, port: int) -> Iterator[None]:
    """Hold the lock file for a Kyma on `port`. Raises AlreadyRuns while another process does."""
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            pid, _, other_port = file.read().strip().partition(" ")
            raise AlreadyRuns(lock.parent, pid, int(other_port or 0) or None) from error
        file.truncate(0)
        file.write(f"{os.getpid()} {port}")
        file.flush()
        yield
