"""API keys: `kyma-` and 40 base62 characters, of which the last 6 are a checksum.

The checksum separates a typo from a revoked key without a query, and gives secret scanners a
pattern without false alarms. The 34 random characters carry 202 bits, so a plain SHA-256 is
enough to store a key and to find it.
"""

import datetime as dt
import hashlib
import secrets
import string
import zlib
from collections.abc import Collection

from django.db import transaction
from django.utils import timezone

from accounts.errors import InvalidKey
from accounts.models import ApiKey, User

PREFIX = "kyma-"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 34
_CHECKSUM_LENGTH = 6
_LENGTH = len(PREFIX) + _RANDOM_LENGTH + _CHECKSUM_LENGTH
# The fields that belong to one key only. Rotating copies all others: they are rules.
_ITS_OWN = {"id", "user", "digest", "start", "end", "created_at", "disabled_at", "revoked_at"}
MALFORMED = "This is not a Kyma key: check that it was copied whole."
_REFUSALS = {
    ApiKey.State.REVOKED: "This key was revoked. Make a new one in the dashboard, at /keys.",
    ApiKey.State.EXPIRED: "This key has expired. Make a new one in the dashboard, at /keys.",
    ApiKey.State.DISABLED: "This key is disabled. Enable it in the dashboard, at /keys.",
}


def issue(user: User, *, name: str, **fields) -> tuple[ApiKey, str]:
    """Return a new key for `user`: its row and its text, which can't be shown again."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    text = PREFIX + random + _checksum(PREFIX + random)
    row = ApiKey.objects.create(
        user=user, name=name, digest=digest(text), start=text[:9], end=text[-4:], **fields
    )
    return row, text


def revoke(key: ApiKey) -> None:
    """End `key` for good. Safe to repeat; every process refuses it within 2 s."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())


def disable(key: ApiKey) -> None:
    """Refuse `key` until it is enabled. Safe to repeat: the first date stays."""
    ApiKey.objects.filter(pk=key.pk, disabled_at=None).update(disabled_at=timezone.now())


def enable(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(disabled_at=None)


def rotate(key: ApiKey, *, grace: dt.timedelta = dt.timedelta()) -> tuple[ApiKey, str]:
    """Return a new key with the rules of `key`. The old key works for `grace` and then ends.

    Without a grace the old key is revoked. Raises InvalidKey if it has ended already.
    """
    with transaction.atomic():
        old = (
            ApiKey.objects.select_for_update(no_key=True, of=("self",))
            .select_related("user")
            .get(pk=key.pk)
        )
        if old.state in (ApiKey.State.REVOKED, ApiKey.State.EXPIRED):
            raise InvalidKey("This key has ended already: make a new one.")
        rules = {
            field.name: getattr(old, field.name)
            for field in ApiKey._meta.concrete_fields
            if field.name not in _ITS_OWN
        }
        new, text = issue(old.user, **rules)
        if grace:
            end = timezone.now() + grace
            end = min(end, old.expires_at or end)
            ApiKey.objects.filter(pk=old.pk).update(expires_at=end)
        else:
            revoke(old)
    return new, text


def authenticate(text: str) -> ApiKey:
    """Return the usable key with this text, and its user. Raises InvalidKey."""
    if not is_well_formed(text):
        raise InvalidKey(MALFORMED)
    key = ApiKey.objects.select_related("user").filter(digest=digest(text)).first()
    if key is None:
        raise InvalidKey("This key doesn't exist.")
    if key.state != ApiKey.State.ACTIVE:
        raise InvalidKey(_REFUSALS[key.state])
    if not key.user.is_active:
        raise InvalidKey("The account of this key is closed.")
    return key


def existing(digests: Collection[str]) -> set[str]:
    """Return the digests that belong to a key, usable or not."""
    return set(ApiKey.objects.filter(digest__in=digests).values_list("digest", flat=True))


def is_well_formed(text: str) -> bool:
    """True when `text` has the shape and the checksum of a key. Needs no database."""
    if len(text) != _LENGTH or not text.startswith(PREFIX) or not text.isascii():
        return False
    return text[-_CHECKSUM_LENGTH:] == _checksum(text[:-_CHECKSUM_LENGTH])


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    characters = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(reversed(characters))
