"""Keyed hashes of the conversation and the user that a request names.

The names themselves aren't logged and never leave Kyma (P7, P9). The account is part of the hash,
so the same name in another account has another hash.
"""

import hashlib
import hmac
from collections.abc import Mapping

from django.conf import settings

from gateway.dialects.request import ProviderRequest

SESSION_HEADERS = ("x-session-id", "x-claude-code-session-id")


def session_hash(request: ProviderRequest, headers: Mapping[str, str], account_id: str) -> str:
    """Return the hash of the session in body or headers; empty if they name none."""
    names = (request.session_id, *(headers.get(name) for name in SESSION_HEADERS))
    return hash_of(next(filter(None, names), ""), account_id)


def hash_of(session: str, account_id: str) -> str:
    """Return the hash of a conversation's name; empty for an empty name."""
    return _keyed("session", account_id, session)


def user_hash(request: ProviderRequest, account_id: str) -> str:
    """Return the hash of the caller's own user; empty if the request names none."""
    return _keyed("user", account_id, request.user or "")


def _keyed(kind: str, account_id: str, text: str) -> str:
    if not text:
        return ""
    message = f"{kind}:{account_id}:{text}".encode()
    return hmac.digest(settings.SECRET_KEY.encode(), message, hashlib.sha256).hex()[:32]
