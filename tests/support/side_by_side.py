"""`python -m tests.support.side_by_side test|proof|endurance [ONLY]`: parts of the suite at once.

Each part is a pytest of its own, as tests wait about as much as they compute. The first is heard
while it runs, the others after it, and at the end a table says how long each took.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.support.engines import ENGINE

ROOT = Path(__file__).resolve().parents[2]
PYTEST = [sys.executable, "-m", "pytest"]
ON_POSTGRES = [sys.executable, "-m", "tests.support.on_postgres", "pytest"]
# Folders below tests/gateway whose tests ask gateway processes: each part shares its processes.
LIVE = ("providers", "serving")
LIVE_TOO = ("access", "analytics", "clients", "dialects", "keys", "v1")
# Chromium, and all programs of `make run`.
PROGRAMS = ("tests/browser", "tests/kyma/machine")
PAGES = ("tests/kyma", "tests/chat")
FOLLOWED_EVERY_S = 0.2
# A hundred processes start, and without bytecode each of them would compile all of Kyma again.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
NO_TESTS = 5  # pytest's code when nothing was selected.
NO_OTHERS = "not proof and not endurance"


def commands_of(run: str, only: str = "") -> dict[str, list[str]]:
    """The command of each part, by what to call it."""
    chosen = ["-k", only] if only else []
    live = [f"tests/gateway/{folder}" for folder in LIVE]
    live_too = [f"tests/gateway/{folder}" for folder in LIVE_TOO]
    elsewhere = (*PROGRAMS, *live, *live_too, *PAGES)
    return {
        "test": {
            "SQLite, serving": [*PYTEST, *live],
            "SQLite, other gateways": [*PYTEST, *live_too],
            "SQLite, pages and chat": [*PYTEST, *PAGES, "--ignore=tests/kyma/machine"],
            "SQLite, the rest": [*PYTEST, *(f"--ignore={place}" for place in elsewhere)],
            "Postgres, where it matters": [
                *ON_POSTGRES,
                *(f"tests/{place}" for place in sorted(ENGINE)),
            ],
            "Browser and make run": [*PYTEST, *PROGRAMS],
        },
        "proof": {
            "SQLite": [*PYTEST, "-m", "proof"],
            "Postgres, the proofs": [*ON_POSTGRES, "-m", "proof"],
            "Postgres, the rest": [*ON_POSTGRES, "-m", f"not engine and {NO_OTHERS}"],
        },
        "endurance": {
            "SQLite": [*PYTEST, "-m", "endurance", *chosen],
            "Postgres": [*ON_POSTGRES, "-m", "endurance", *chosen],
        },
    }[run]


class Part:
    """One command that runs; what it prints goes to `log`, or straight out if that is None."""

    def __init__(self, command: list[str], log: Path | None):
        self._began = time.monotonic()
        self._log = log
        output = log.open("wb") if log else None
        # In a group of its own Ctrl-C reaches it once, by `end`: twice would cut its end short.
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=output, stderr=output, process_group=0
        )
        if output:
            output.close()
        self.took_s = 0.0
        self._waiting = threading.Thread(target=self._wait, daemon=True)
        self._waiting.start()

    def _wait(self) -> None:
        self.process.wait()
        self.took_s = time.monotonic() - self._began

    def follow(self) -> int:
        """Print what it has printed and prints, until it ends. Return its exit code."""
        with self._log.open("rb") if self._log else contextlib.nullcontext() as log:
            is_over = False
            while not is_over:
                self._waiting.join(FOLLOWED_EVERY_S)
                is_over = not self._waiting.is_alive()
                if log:
                    sys.stdout.buffer.write(log.read())
                    sys.stdout.buffer.flush()
        return self.process.returncode

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)  # pytest then ends the gateways that it started.
        self._waiting.join()


def run(commands: dict[str, list[str]]) -> dict[str, Part]:
    """Run all commands to their ends."""
    parts: dict[str, Part] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        for name, command in commands.items():
            parts[name] = Part(command, Path(folder, name) if parts else None)
            running.callback(parts[name].end)
        for name, part in parts.items():
            print(f"— {name}", flush=True)
            part.follow()
    return parts


def print_table(parts: dict[str, Part]) -> None:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"— {os.cpu_count()} cores; load in the last 1, 5 and 15 minutes: {load}")
    for name, part in parts.items():
        outcome = {0: "passed", NO_TESTS: "has no such tests"}.get(
            part.process.returncode, "FAILED"
        )
        print(f"  {name:<28} {part.took_s:6.0f} s  {outcome}")


def is_well(parts: dict[str, Part]) -> bool:
    """True when something ran and nothing failed."""
    codes = {part.process.returncode for part in parts.values()}
    return 0 in codes and codes <= {0, NO_TESTS}


def main(arguments: list[str]) -> int:
    # Without this a SIGTERM would leave the parts running.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    parts = run(commands_of(*arguments))
    print_table(parts)
    return 0 if is_well(parts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
