"""The Ed25519 keys that sign receipts, and how their public halves are published.

RECEIPT_SIGNING_KEYS holds the seeds. The highest version signs, and the public keys of all
versions are published: a receipt can be checked for as long as its key is configured.
"""

import base64
import dataclasses
import functools
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

ALGORITHM = "Ed25519"
_ID_LENGTH = 16


@dataclasses.dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that checks signatures; its id is the start of its SHA-256."""

    raw: bytes

    @property
    def id(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()[:_ID_LENGTH]

    def has_signed(self, text: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def as_dict(self) -> dict[str, str]:
        pem = self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return {
            "key_id": self.id,
            "algorithm": ALGORITHM,
            "public_key": base64.b64encode(self.raw).decode(),
            "pem": pem.decode(),
        }

    @property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


def sign(text: bytes) -> dict[str, str]:
    """Return the signature of `text` by the newest key."""
    key = _signing_keys(settings.RECEIPT_SIGNING_KEYS)[0]
    return {
        "algorithm": ALGORITHM,
        "key_id": _public(key).id,
        "value": base64.b64encode(key.sign(text)).decode(),
    }


def own() -> list[PublicKey]:
    """Return the public keys of this installation, the newest first."""
    return [_public(key) for key in _signing_keys(settings.RECEIPT_SIGNING_KEYS)]


def published() -> dict:
    """Return the answer of `GET /v1/receipts/keys`."""
    return {"keys": [key.as_dict() for key in own()]}


def read(published: dict) -> list[PublicKey]:
    """Return the keys in an answer of `GET /v1/receipts/keys`. Raises ValueError."""
    try:
        return [PublicKey(_raw(one["public_key"])) for one in published["keys"]]
    except (KeyError, TypeError) as error:
        raise ValueError("this is not an answer of /v1/receipts/keys") from error


def _raw(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    Ed25519PublicKey.from_public_bytes(raw)
    return raw


def _public(key: Ed25519PrivateKey) -> PublicKey:
    return PublicKey(key.public_key().public_bytes_raw())


@functools.lru_cache(maxsize=2)
def _signing_keys(configured: str) -> list[Ed25519PrivateKey]:
    """Return the configured keys, the newest first."""
    pairs = (entry.split(":", 1) for entry in configured.split(",") if entry.strip())
    seeds = {int(version): base64.b64decode(seed) for version, seed in pairs}
    newest_first = sorted(seeds.items(), reverse=True)
    return [Ed25519PrivateKey.from_private_bytes(seed) for _, seed in newest_first]
