"""The product has no way around the triggers that keep the ledger append-only."""

import re

import pytest

from tests.support.sources import LAYERS, ROOT, name_of

# Postgres also skips triggers in a session that plays the "replica".
WAY_AROUND = re.compile(
    r"\b(DROP|DISABLE)\s+(TRIGGER|FUNCTION)|session_replication_role|writable_schema",
    re.IGNORECASE,
)
SUFFIXES = {".py", ".sql"}


def test_no_product_code_takes_a_trigger_off():
    paths = (path for app in LAYERS for path in (ROOT / app).rglob("*"))
    sources = [path for path in paths if path.suffix in SUFFIXES]
    assert sources
    assert [name_of(path) for path in sources if WAY_AROUND.search(path.read_text())] == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER billing_ledgerentry_no_delete",
        "ALTER TABLE billing_ledgerentry DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
    ],
)
def test_each_way_around_is_known(statement):
    assert WAY_AROUND.search(statement)
