"""Finds out why a figure is missed: py-spy watches the gateway under the load that showed it."""

import collections
import contextlib
import dataclasses
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.baselines import ENVIRONMENT, CannotInstall, install
from benchmarks.load import PINNED

SAMPLES_PER_S = 250
WATCHED_S = 8
STOP_TIMEOUT_S = 30
MOST_LINES = 15
OF_A_PACKAGE = "site-packages/"


@dataclasses.dataclass(frozen=True)
class Profile:
    """Shares of the time in which the process ran Python, or C called by it."""

    title: str
    own: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    below: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    failure: str = ""


def take(title: str, pid: int, load: Callable[[], object]) -> Profile:
    """Return the profile of `pid` while `load` runs."""
    try:
        install()
    except CannotInstall as error:
        return Profile(title, failure=f"py-spy can't be installed: {error}")
    with tempfile.NamedTemporaryFile() as output:
        watching = subprocess.Popen(
            [
                *(*PINNED, str(ENVIRONMENT / "bin" / "py-spy"), "record", "--gil"),
                *("--rate", str(SAMPLES_PER_S), "--duration", str(WATCHED_S)),
                *("--format", "raw", "--output", output.name, "--pid", str(pid)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        load()
        try:
            _, said = watching.communicate(timeout=STOP_TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                watching.kill()
        if watching.returncode:
            return Profile(title, failure=f"py-spy can't watch it: {said.strip()[-200:]}")
        return summary(title, Path(output.name).read_text())


def summary(title: str, raw: str) -> Profile:
    """Return the functions that take most time, from lines of `frame;frame;frame count`."""
    own, below, total = collections.Counter(), collections.Counter(), 0
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        functions = [_function(frame) for frame in stack.split(";")]
        own[functions[-1]] += int(count)
        for function in set(functions):
            below[function] += int(count)
        total += int(count)
    # Calls below a function count only for our own functions: only these show where to look.
    ours = {name: count for name, count in below.items() if _is_ours(name)}
    return Profile(title, _shares(own, total), _shares(collections.Counter(ours), total))


def _shares(counted: collections.Counter, total: int) -> list[tuple[float, str]]:
    return [(100 * count / total, name) for name, count in counted.most_common(MOST_LINES)]


def _function(frame: str) -> str:
    """Return `name (file)`, without the line and without the path of the packages."""
    name, _, place = frame.rpartition(" (")
    file = place.rpartition(":")[0]
    return f"{name} ({file.rpartition(OF_A_PACKAGE)[2]})"


def _is_ours(function: str) -> bool:
    return any(f"({app}/" in function for app in ("kyma", "gateway", "billing", "accounts"))
