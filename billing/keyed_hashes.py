"""Hashes of texts that Kyma must recognise but not keep. Without the key they say nothing."""

import hashlib
import hmac

from django.conf import settings


def digests(text: str) -> list[str]:
    """Return the hashes of `text` under the secret key and under the keys that it replaced.

    Store the first. Look for all, so that a new secret key forgets nothing.
    """
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [hmac.digest(key.encode(), text.encode(), hashlib.sha256).hex() for key in keys]
