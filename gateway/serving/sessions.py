"""Who and which conversation a request is about, as the caller says: known here by keyed hashes.

What the caller wrote never leaves Kyma and isn't logged (P7, P9). The hash is of the account too,
so that the same name means something else in another account.
"""

import hashlib
import hmac
from collections.abc import Mapping

from django.conf import settings

from gateway.dialects.request import ProviderRequest

SESSION_HEADERS = ("x-session-id", "x-claude-code-session-id")


def session_hash(request: ProviderRequest, headers: Mapping[str, str], account_id: str) -> str:
    """The conversation: `session_id`, `prompt_cache_key` or a header; empty if none says."""
    said = (request.session_id, *(headers.get(name) for name in SESSION_HEADERS))
    return hash_of(next(filter(None, said), ""), account_id)


def hash_of(session: str, account_id: str) -> str:
    """Of a conversation by the name that its caller gave it; empty for none."""
    return _keyed("session", account_id, session)


def user_hash(request: ProviderRequest, account_id: str) -> str:
    """The caller's own user; empty if the request names none."""
    return _keyed("user", account_id, request.user or "")


def _keyed(kind: str, account_id: str, text: str) -> str:
    if not text:
        return ""
    message = f"{kind}:{account_id}:{text}".encode()
    return hmac.digest(settings.SECRET_KEY.encode(), message, hashlib.sha256).hex()[:32]
