import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]


def schema_after_migrating(state_dir: Path, settings: str) -> dict[str, list[str]]:
    """What dj-stripe's migrations make: for each table its columns, for each index its SQL."""
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "djstripe", "--verbosity", "0"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": "",
            "KYMA_STATE_DIR": str(state_dir),
            "DJANGO_SETTINGS_MODULE": settings,
        },
        check=True,
    )
    database = sqlite3.connect(state_dir / "kyma.sqlite3")
    rows = database.execute(
        "SELECT name, sql FROM sqlite_master WHERE name LIKE 'djstripe%' AND sql IS NOT NULL"
    )
    schema = {name: sorted(re.split(r",\s*", sql.partition("(")[2][:-1])) for name, sql in rows}
    database.close()
    return schema


@pytest.mark.proof
@pytest.mark.skipif(connection.vendor != "sqlite", reason="it compares SQLite files: once will do")
def test_the_tables_that_tests_use_are_those_that_the_migrations_make(tmp_path):
    real = schema_after_migrating(tmp_path / "real", "kyma.settings")
    ours = schema_after_migrating(tmp_path / "ours", "tests.settings")
    assert len(real) > 62
    assert ours == real
