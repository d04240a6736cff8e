"""Migrated databases, made once per engine and kept between runs: each test process copies them.

A template is kept under a fingerprint of all that shapes it, so a changed migration makes a new
one. Templates that no run has used for a week are removed.
"""

import ast
import contextlib
import datetime as dt
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(sys.prefix, "test-databases")
APPS = ("accounts", "billing", "chat", "gateway", "kyma", "privacy")
VARIABLES = {"default": "DATABASE_URL", "keyring": "KEYRING_DATABASE_URL"}
KEPT_S = 7 * 24 * 60 * 60
MIGRATE = """
import django
django.setup()
from django.core.management import call_command
for database in ("default", "keyring"):
    call_command("migrate", database=database, verbosity=0)
"""


@contextlib.contextmanager
def template(engine: str, make: Callable[[Path], None]) -> Iterator[Path]:
    """The folder with the databases of `engine`, which `make` fills if it isn't there.

    It can be copied until the block ends: no other run removes it meanwhile.
    """
    FOLDER.mkdir(exist_ok=True)
    folder = FOLDER / f"{engine}-{fingerprint(engine)}"
    with (FOLDER / f"{engine}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            remove_old(engine)
            with tempfile.TemporaryDirectory(prefix="draft-", dir=FOLDER) as draft:
                make(Path(draft, engine))
                Path(draft, engine).rename(folder)
        os.utime(folder)
        yield folder


def migrate(urls: dict[str, str]) -> None:
    """Migrate the databases at `urls`, in a process with the settings of the tests."""
    environment = {**os.environ, **urls, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", MIGRATE], cwd=ROOT, env=environment, check=True)


def copy_sqlite(targets: dict[str, Path]) -> None:
    """Put a migrated SQLite file at each of `targets`, which are named by database."""
    with template("sqlite", _make_sqlite) as folder:
        for database, target in targets.items():
            for suffix in ("-wal", "-shm"):
                target.with_name(target.name + suffix).unlink(missing_ok=True)
            shutil.copyfile(folder / database, target)


def _make_sqlite(folder: Path) -> None:
    folder.mkdir()
    migrate({variable: f"sqlite:///{folder / name}" for name, variable in VARIABLES.items()})


def remove_old(engine: str) -> None:
    for folder in FOLDER.glob(f"{engine}-*"):
        if folder.stat().st_mtime < time.time() - KEPT_S:
            shutil.rmtree(folder)


def fingerprint(engine: str) -> str:
    """A digest of every file that shapes the migrated databases, and of the engine.

    On Postgres the table of contents has a partition for each of the next days, so the day counts.
    """
    day = dt.datetime.now(dt.UTC).date() if engine == "postgres" else ""
    digest = hashlib.sha256(f"{engine} {sys.version} {day}".encode())
    for path in sorted(files_that_count()):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def files_that_count() -> set[Path]:
    """Migrations, models, what runs after migrating, and the versions of all that is installed."""
    migrations = {path for app in APPS for path in (ROOT / app).glob("**/migrations/*.py")}
    apps = {path for app in APPS for path in (ROOT / app).glob("**/apps.py")}
    models = {
        path
        for app in APPS
        for pattern in ("**/models.py", "**/models/*.py", "**/*_models.py", "**/*.sql")
        for path in (ROOT / app).glob(pattern)
    }
    imported = {path for source in migrations | apps for path in imported_by(source)}
    others = {
        ROOT / "requirements.txt",
        *(ROOT / "tests" / "support" / "djstripe_schema").glob("*.py"),
    }
    return migrations | apps | models | imported | others


def imported_by(source: Path) -> Iterator[Path]:
    """The files of the modules of ours that `source` imports, at its top or in a function."""
    for node in ast.walk(ast.parse(source.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        for name in names:
            path = ROOT.joinpath(*name.split("."))
            if name.split(".")[0] in APPS:
                yield from filter(Path.is_file, [path.with_suffix(".py"), path / "__init__.py"])
