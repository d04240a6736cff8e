"""Copies of the last commit, in which lines are broken and tests run; the working tree stays as it
is. Each copy has temporary files of its own, and so the state and databases of its tests.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import outcomes
from tests.mutants.table import Mutant

ROOT = Path(__file__).resolve().parent.parent.parent
# A fixed seed: a test that Hypothesis has made fail fails again.
OPTIONS = "-q -p no:randomly -p no:cacheprovider -p tests.mutants.outcomes --hypothesis-seed=1"
# Variables that would point tests to databases or state of somebody else.
SHARED = ("KYMA_STATE_DIR", "DATABASE_URL", "KEYRING_DATABASE_URL")
STOP_TIMEOUT_S = 60
TAIL = 3000  # Characters of its output that explain why a run broke off.


class BrokeOff(Exception):
    """pytest itself failed, and no test says why."""


class TimedOut(Exception):
    """The tests ran longer than they may."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test ended."""

    test: str
    seconds: float
    failed: bool


class Tree:
    """One copy of the source tree. It runs one pytest at a time."""

    def __init__(self, folder: Path, archive: Path):
        self.root = folder / "kyma"
        self._temporary = folder / "tmp"
        self._outcomes = folder / "outcomes"
        self._process: subprocess.Popen | None = None
        self._is_closed = False
        self._temporary.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            tar.extractall(self.root, filter="data")
        (self.root / ".venv").symlink_to(ROOT / ".venv")

    @contextlib.contextmanager
    def broken_by(self, mutant: Mutant) -> Iterator[None]:
        """Break the mutant's line, and mend it at the end."""
        path = mutant.place(self.root)
        sound = path.read_text()
        self._write(path, sound.replace(mutant.was, mutant.becomes))
        try:
            yield
        finally:
            self._write(path, sound)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """Write a source file and forget its bytecode, which may be as old and source as long."""
        path.write_text(text)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()

    def run(
        self, tests: Sequence[str], *options: str, postgres: bool = False, limit_s: float | None
    ) -> list[Outcome]:
        """Run these test files or tests. Raises TimedOut, BrokeOff."""
        self._outcomes.write_text("")
        engine = ["-m", "tests.support.on_postgres", sys.executable] if postgres else []
        command = [sys.executable, *engine, "-m", "pytest", *OPTIONS.split(), *options, *tests]
        with open(self._temporary / "output", "w+") as output:
            code = self._wait(command, output, limit_s)
            output.seek(0)
            said = output.read()
        found = [Outcome(**json.loads(line)) for line in self._outcomes.read_text().splitlines()]
        # 5: no test was left to run, as on Postgres, which leaves out tests without a database.
        if code not in (0, 5) and not any(one.failed for one in found):
            raise BrokeOff(f"pytest ended with {code}:\n{said[-TAIL:]}")
        return found

    def _wait(self, command: list[str], output, limit_s: float | None) -> int:
        if self._is_closed:
            raise BrokeOff("this command ends")
        self._process = subprocess.Popen(
            command,
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TimedOut from None
        finally:
            self._stop()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in SHARED}
        own = {"TMPDIR": str(self._temporary), outcomes.VARIABLE: str(self._outcomes)}
        return kept | own

    def close(self) -> None:
        """Run nothing more."""
        self._is_closed = True
        self._stop()

    def _stop(self) -> None:
        """End the pytest that runs, if one does. It is asked first, so that it cleans up."""
        for number in (signal.SIGINT, signal.SIGKILL):
            if self._process is None or self._process.poll() is not None:
                return
            os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)


def archive(folder: Path) -> Path:
    """Write the last commit into an archive in `folder`."""
    path = folder / "commit.tar"
    subprocess.run(["git", "archive", f"--output={path}", "HEAD"], cwd=ROOT, check=True)
    return path


def commit() -> str:
    """Return the last commit's short name."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
