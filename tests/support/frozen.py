"""Programs that stand still and go on where they stopped, as in a machine that sleeps."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process in the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def frozen_postgres() -> Iterator[None]:
    """Stop each process of this test run's server in the block."""
    folder = Path(parse_qs(urlsplit(os.environ["DATABASE_URL"]).query)["host"][0])
    postmaster = int((folder / "postmaster.pid").read_text().split()[0])
    _signal_all(postmaster, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(postmaster, signal.SIGCONT)


def _signal_all(postmaster: int, number: signal.Signals) -> None:
    """Signal the server, and then its children: so it starts no others meanwhile."""
    os.kill(postmaster, number)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == postmaster:
                os.kill(int(stat.parent.name), number)
