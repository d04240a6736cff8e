import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kyma import checks

ROOT = Path(__file__).resolve().parents[2]
KEY = base64.b64encode(bytes(32)).decode()
POSTGRES = {"ENGINE": "django.db.backends.postgresql", "HOST": "db", "PORT": "", "OPTIONS": {}}
SOUND = {
    "PRODUCTION": True,
    "DEBUG": False,
    "SECRET_KEY": "x" * 50,
    "MASTER_KEYS": f"1:{KEY}",
    "RECEIPT_SIGNING_KEYS": f"1:{KEY}",
    "METRICS_TOKEN": "",
    "DATABASES": {
        "default": {**POSTGRES, "NAME": "kyma"},
        "keyring": {**POSTGRES, "NAME": "keyring"},
    },
    "EMBEDDED_REDIS": False,
    "ALLOWED_HOSTS": ["kyma.example.org", "localhost"],
    "EMAIL_HOST": "mail.example.org",
    "LEASE_BEAT_INTERVAL_S": 10,
    "LEASE_FRESH_S": 40,
    "LEASE_LOOK_GAP_S": 15,
}


@pytest.fixture
def found(monkeypatch):
    """Gives the ids of what is found in a sound production where something is different."""

    def find(**different):
        # Not pytest-django's fixture: that would reconnect the databases.
        monkeypatch.setattr(checks, "settings", type("Settings", (), {**SOUND, **different}))
        all_checks = (
            checks.check_master_keys,
            checks.check_receipt_signing_keys,
            checks.check_keyring_is_apart,
            checks.check_production,
            checks.check_mail,
            checks.check_leases,
        )
        return [error.id for check in all_checks for error in check(app_configs=None)]

    return find


def test_a_sound_production_passes(found):
    assert found() == []


@pytest.mark.parametrize(
    ("different", "id"),
    [
        ({"DEBUG": True}, "kyma.E010"),
        ({"SECRET_KEY": ""}, "kyma.E011"),
        ({"SECRET_KEY": "short"}, "kyma.E011"),
        ({"MASTER_KEYS": ""}, "kyma.E012"),
        ({"RECEIPT_SIGNING_KEYS": ""}, "kyma.E020"),
        ({"METRICS_TOKEN": "short"}, "kyma.E021"),
        ({"EMBEDDED_REDIS": True}, "kyma.E014"),
        ({"ALLOWED_HOSTS": []}, "kyma.E015"),
        ({"EMAIL_HOST": ""}, "kyma.W030"),
        ({"ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"]}, "kyma.E015"),
    ],
)
def test_production_refuses_a_contradiction(found, different, id):
    assert found(**different) == [id]
    assert found(**different, PRODUCTION=False) == []


def test_production_refuses_sqlite(found, tmp_path):
    files = {
        alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / alias}
        for alias in ("default", "keyring")
    }
    assert found(DATABASES=files) == ["kyma.E013"]
    assert found(DATABASES=files, PRODUCTION=False) == []
    assert found(DATABASES={**SOUND["DATABASES"], "keyring": files["keyring"]}) == ["kyma.E013"]


@pytest.mark.parametrize("production", [True, False])
def test_the_keyring_must_lie_in_a_database_of_its_own(found, tmp_path, production):
    postgres = {**POSTGRES, "NAME": "kyma"}
    same_port = {**postgres, "PORT": 5432}
    assert found(DATABASES={"default": postgres, "keyring": same_port}, PRODUCTION=production) == [
        "kyma.E003"
    ]
    other_server = {**postgres, "HOST": "elsewhere"}
    assert found(DATABASES={"default": postgres, "keyring": other_server}) == []
    file = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "one")}
    roundabout = {**file, "NAME": str(tmp_path / "folder" / ".." / "one")}
    databases = {"default": file, "keyring": roundabout}
    assert found(DATABASES=databases, PRODUCTION=False) == ["kyma.E003"]


@pytest.mark.parametrize("production", [True, False])
@pytest.mark.parametrize(
    "malformed",
    [
        KEY,
        f"one:{KEY}",
        f"256:{KEY}",
        f"-1:{KEY}",
        "1:",
        "1:AAAA",
        "1:not base64!",
        f"1:{KEY},2:AAAA",
        ",",
    ],
)
def test_a_malformed_key_is_refused(found, malformed, production):
    assert found(MASTER_KEYS=malformed, PRODUCTION=production) == ["kyma.E001"]
    assert found(RECEIPT_SIGNING_KEYS=malformed, PRODUCTION=production) == ["kyma.E004"]


def test_keys_may_be_several_but_of_different_versions(found):
    several, twice = f"1:{KEY}, 2:{KEY}", f"1:{KEY},1:{KEY}"
    assert found(MASTER_KEYS=several, RECEIPT_SIGNING_KEYS=several) == []
    assert found(MASTER_KEYS=twice) == ["kyma.E002"]
    assert found(RECEIPT_SIGNING_KEYS=twice) == ["kyma.E005"]


def test_a_bare_production_says_all_that_is_missing(tmp_path):
    given = ("DATABASE_URL", "KEYRING_DATABASE_URL", "REDIS_URL", "SECRET_KEY")
    given += ("KYMA_MASTER_KEYS", "RECEIPT_SIGNING_KEYS")
    environment = {name: value for name, value in os.environ.items() if name not in given}
    run = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={
            **environment,
            "DJANGO_SETTINGS_MODULE": "kyma.settings",
            "KYMA_PRODUCTION": "true",
            "KYMA_STATE_DIR": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    for id in ("E011", "E012", "E013", "E014", "E015", "E020"):
        assert f"(kyma.{id})" in run.stderr
    assert not (tmp_path / "state").exists(), "production makes nothing up"


@pytest.mark.parametrize("different", [{"LEASE_FRESH_S": 45}, {"LEASE_BEAT_INTERVAL_S": 40}])
def test_leases_by_which_a_living_process_could_die_are_refused(found, different):
    assert found(**different) == ["kyma.E060"]
