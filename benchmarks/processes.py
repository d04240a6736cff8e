"""Starts the programs of a run, each on its core, and measures their cost.

The measured program has a core to itself; the load generator, the upstream and the database
share the other. CPU is user plus system time of all threads, as the kernel counts it.
"""

import contextlib
import dataclasses
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

MEASURED_CORE, OTHER_CORE = 0, 1
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], *, core: int, port: int, log: Path, **options) -> Iterator[int]:
    """Run a program pinned to `core` until it listens on `port`; yield its process's id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command], stdout=output, stderr=output, **options
        )
    try:
        wait_until(lambda: listens(port, process, log), f"{command[0]} listens on port {port}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int, process: subprocess.Popen, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"{process.args} has ended:\n{log.read_text()[-2000:]}")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until `is_so()` is true. Raises TimeoutError."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {START_TIMEOUT_S} s in vain until {what}")
        time.sleep(0.05)


# --- What they cost


def cpu_s(pid: int) -> float:
    """Return the CPU time that one process has used."""
    # The name may hold any character, so count the fields after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def tree_cpu_s(pid: int) -> float:
    """Return the CPU time of a process and its children, including those that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / _TICKS_PER_S
    return cpu_s(pid) + ended + sum(tree_cpu_s(child) for child in children(pid))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


@dataclasses.dataclass
class Spent:
    """The CPU time used between two moments."""

    cpu_s: float = 0.0
    wall_s: float = 0.0

    @property
    def core(self) -> float:
        """The share of one core that was used."""
        return self.cpu_s / self.wall_s


@contextlib.contextmanager
def spending(pid: int, read: Callable[[int], float] = cpu_s) -> Iterator[Spent]:
    spent = Spent()
    cpu, wall = read(pid), time.monotonic()
    yield spent
    spent.cpu_s, spent.wall_s = read(pid) - cpu, time.monotonic() - wall
