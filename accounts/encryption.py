"""AES-256-GCM for everything that must not lie readable in a database.

Content is sealed under a data key, one per account. Data keys and providers' keys are sealed
under a master key, which comes from the environment. A sealed text is bound to its place:
it doesn't open when it is copied to another row.
"""

import base64
import functools
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from accounts.errors import SealBroken

KEY_BYTES = 32
_NONCE_BYTES = 12


class Cipher:
    """Seals and opens under one key. `place` names table and row, and is authenticated."""

    def __init__(self, key: bytes):
        self._aead = AESGCM(key)

    def seal(self, plain: bytes, place: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes | memoryview, place: str) -> bytes:
        """Return the plain bytes. Raises SealBroken."""
        sealed = bytes(sealed)
        try:
            nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            return self._aead.decrypt(nonce, text, place.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"cannot open what lies at {place}") from error


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


@functools.lru_cache(maxsize=1)
def _master_ciphers(configured: str) -> dict[int, Cipher]:
    pairs = (entry.split(":", 1) for entry in configured.split(",") if entry.strip())
    return {int(version): Cipher(base64.b64decode(key)) for version, key in pairs}


def seal_under_master_key(plain: bytes, place: str) -> bytes:
    """Seal under the newest master key and put that key's version into the first byte."""
    ciphers = _master_ciphers(settings.MASTER_KEYS)
    version = max(ciphers)
    return bytes([version]) + ciphers[version].seal(plain, place)


def open_under_master_key(sealed: bytes | memoryview, place: str) -> bytes:
    """Return the plain bytes. Raises SealBroken, also if the master key isn't configured."""
    sealed = bytes(sealed)
    version = int.from_bytes(sealed[:1])
    cipher = _master_ciphers(settings.MASTER_KEYS).get(version)
    if cipher is None:
        raise SealBroken(f"master key version {version} is not configured")
    return cipher.open(sealed[1:], place)
