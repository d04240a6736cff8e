"""Which tests run on Postgres too. On SQLite all run.

`make test` runs those of `ENGINE` on both, since there the database itself is the subject: commits,
the log, analytics, keys, idempotency, billing, migrations, races and query plans. `make proof` runs
the others on Postgres. `ONCE` names the tests that no engine can change.
"""

from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

# Folders and files below tests/.
ENGINE = {
    "accounts/test_encryption.py",
    "accounts/test_keyring.py",
    "accounts/test_keys.py",
    "accounts/test_mfa.py",
    "accounts/test_security_changes.py",
    "architecture/test_migrations.py",
    "billing",
    "chat/files/test_import_beside_others.py",
    "chat/files/test_killed_import.py",
    "chat/test_deletion.py",
    "chat/test_kill.py",
    "chat/test_quota.py",
    "chat/test_quota_race.py",
    "chat/test_search.py",
    "gateway/analytics",
    "gateway/catalogue/test_catalog.py",
    "gateway/catalogue/test_evidence.py",
    "gateway/commits",
    "gateway/keys/test_key_caps_race.py",
    "gateway/keys/test_key_limit_race.py",
    "gateway/keys/test_key_management.py",
    "gateway/log",
    "gateway/pages/test_models_page.py",
    "gateway/pages/test_request_pages.py",
    "gateway/pages/test_usage_page.py",
    "gateway/serving/test_idempotency.py",
    "gateway/serving/test_kept_answers.py",
    "gateway/serving/test_kill.py",
    "gateway/serving/test_kill_every_api.py",
    "gateway/serving/test_leases_of_processes.py",
    "gateway/serving/test_privacy_of_forwarding.py",
    "gateway/serving/test_race.py",
    "gateway/serving/test_reservation.py",
    "gateway/serving/test_usage.py",
    "kyma/api/test_pages.py",
    "kyma/demo",
    "kyma/pages/test_overview.py",
    "kyma/pages/test_public_catalogue.py",
    "kyma/test_health.py",
    "kyma/test_limited_connection.py",
    "privacy/test_provider_choice.py",
}
# The packages of others, and what draws thousands of examples.
ONCE = {
    "browser",
    "gateway/clients",
    "gateway/dialects/chat/test_stream_splits.py",
    "gateway/dialects/test_body_fuzz.py",
    "gateway/dialects/test_endpoint_fuzz.py",
    "gateway/v1/test_openapi_fuzz.py",
    "kyma/api/test_fuzz.py",
    "kyma/machine/test_local_provider.py",
    "kyma/test_doors.py",
    "support/provider",
    "support/test_on_postgres.py",
}
REAL_MODEL = {"local_provider", "smollm"}  # Fixtures.
DATABASE = {"django_db_setup", "_some_books"}


def mark(item: pytest.Item) -> None:
    if _places(item.path) & ENGINE:
        item.add_marker(pytest.mark.engine)


def is_for_postgres(item: pytest.Item) -> bool:
    """False for a test that uses no database, and for one that is the same on every engine."""
    if not (DATABASE & set(item.fixturenames) or item.get_closest_marker("django_db")):
        return False
    if item.get_closest_marker("engine"):
        return True
    draws_examples = hasattr(getattr(item, "obj", None), "hypothesis")
    return not (_places(item.path) & ONCE or REAL_MODEL & set(item.fixturenames) or draws_examples)


@cache
def _places(file: Path) -> frozenset[str]:
    """The file and the folders around it, as they are named here."""
    inside = file.relative_to(TESTS)
    return frozenset(map(str, [inside, *inside.parents]))
