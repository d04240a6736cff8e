"""Finds contradictions between settings. Every command runs these checks before anything else."""

import base64
import binascii
from pathlib import Path

from django.conf import settings
from django.core.checks import Error, Warning, register
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

from accounts.encryption import KEY_BYTES
from gateway.commits.deaths import MISSES

MIN_SECRET_LENGTH = 32
MAX_KEY_VERSION = 255  # It is stored in one byte.
LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]", "::1"}


@register
def check_master_keys(app_configs, **kwargs) -> list[Error]:
    """Master keys must be well-formed. Only production requires that one is set."""
    return _check_keys("KYMA_MASTER_KEYS", settings.MASTER_KEYS, "kyma.E001", "kyma.E002")


@register
def check_receipt_signing_keys(app_configs, **kwargs) -> list[Error]:
    keys = settings.RECEIPT_SIGNING_KEYS
    return _check_keys("RECEIPT_SIGNING_KEYS", keys, "kyma.E004", "kyma.E005")


def _check_keys(variable: str, keys: str, malformed_id: str, twice_id: str) -> list[Error]:
    if not keys:
        return []
    entries = [entry.strip() for entry in keys.split(",") if entry.strip()]
    if not entries or not all(map(_is_versioned_key, entries)):
        hint = 'Each is "version:base64 of 32 bytes", with a version from 0 to 255.'
        return [Error(f"{variable} is malformed.", hint=hint, id=malformed_id)]
    versions = [int(entry.split(":")[0]) for entry in entries]
    if len(set(versions)) < len(versions):
        return [Error(f"Two keys in {variable} have the same version.", id=twice_id)]
    return []


@register
def check_operator_email(app_configs, **kwargs) -> list[Error]:
    try:
        if settings.OPERATOR_EMAIL:
            validate_email(settings.OPERATOR_EMAIL)
    except ValidationError:
        return [Error("OPERATOR_EMAIL is no e-mail address.", id="kyma.E040")]
    return []


@register
def check_keyring_is_apart(app_configs, **kwargs) -> list[Error]:
    if _place(settings.DATABASES["default"]) != _place(settings.DATABASES["keyring"]):
        return []
    hint = "Erasing a person destroys their key: backups of the main database must not contain it."
    message = "DATABASE_URL and KEYRING_DATABASE_URL name the same database."
    return [Error(message, hint=hint, id="kyma.E003")]


@register
def check_production(app_configs, **kwargs) -> list[Error]:
    """With KYMA_PRODUCTION=true, nothing may be left to defaults made up on this machine."""
    if not settings.PRODUCTION:
        return []
    sqlite = [alias for alias in ("default", "keyring") if _is_sqlite(alias)]
    contradictions = {
        "kyma.E010": ("DEBUG is on.", settings.DEBUG),
        "kyma.E011": (
            f"SECRET_KEY is missing or shorter than {MIN_SECRET_LENGTH} characters.",
            len(_secret_key()) < MIN_SECRET_LENGTH,
        ),
        "kyma.E012": ("KYMA_MASTER_KEYS is missing.", not settings.MASTER_KEYS),
        "kyma.E013": (f"these databases are not on Postgres: {', '.join(sqlite)}.", bool(sqlite)),
        "kyma.E014": ("REDIS_URL is missing.", settings.EMBEDDED_REDIS),
        "kyma.E015": (
            "ALLOWED_HOSTS names no host but this machine.",
            LOCAL_HOSTS.issuperset(settings.ALLOWED_HOSTS),
        ),
        "kyma.E020": ("RECEIPT_SIGNING_KEYS is missing.", not settings.RECEIPT_SIGNING_KEYS),
        "kyma.E021": (
            f"METRICS_TOKEN is shorter than {MIN_SECRET_LENGTH} characters.",
            0 < len(settings.METRICS_TOKEN) < MIN_SECRET_LENGTH,
        ),
    }
    return [
        Error(f"KYMA_PRODUCTION is set, but {message}", id=number)
        for number, (message, is_so) in contradictions.items()
        if is_so
    ]


@register
def check_mail(app_configs, **kwargs) -> list[Warning]:
    if not settings.PRODUCTION or settings.EMAIL_HOST:
        return []
    hint = "Set EMAIL_URL, or EMAIL_HOST with the variables beside it."
    message = "There is no mail server: nobody can sign up, and no password can be reset."
    return [Warning(message, hint=hint, id="kyma.W030")]


@register
def check_leases(app_configs, **kwargs) -> list[Error]:
    """A process must beat again before a sweeper could have taken it for dead."""
    dies_after_s = MISSES * settings.LEASE_LOOK_GAP_S
    if settings.LEASE_BEAT_INTERVAL_S < settings.LEASE_FRESH_S < dies_after_s:
        return []
    hint = (
        f"LEASE_FRESH_S must be more than LEASE_BEAT_INTERVAL_S and less than {MISSES} times "
        "LEASE_LOOK_GAP_S."
    )
    return [Error("A living web process could be taken for dead.", hint=hint, id="kyma.E060")]


def _is_versioned_key(entry: str) -> bool:
    version, _, key = entry.partition(":")
    if not version.isdecimal() or int(version) > MAX_KEY_VERSION:
        return False
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except binascii.Error:
        return False


def _secret_key() -> str:
    try:
        return settings.SECRET_KEY
    except ImproperlyConfigured:  # Django raises this for an empty key.
        return ""


def _is_sqlite(alias: str) -> bool:
    return settings.DATABASES[alias]["ENGINE"].endswith("sqlite3")


def _place(database: dict) -> tuple:
    """Return what identifies a database."""
    if database["ENGINE"].endswith("sqlite3"):
        return (Path(database["NAME"]).resolve(),)
    host = database["HOST"] or database["OPTIONS"].get("host", "")
    return (host, str(database["PORT"] or 5432), database["NAME"])
