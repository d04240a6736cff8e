"""Finds the caller of a request by the key in its header, cached for CACHE_TTL_S (a second)."""

import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

from django.conf import settings
from django.db import Error as DatabaseError

from accounts import keys
from accounts.encryption import Cipher
from accounts.errors import InvalidKey, KeyDestroyed
from accounts.keyring import data_keys
from accounts.models import User
from billing.accounts import open_account
from gateway.access import unknown_keys
from gateway.database import read_in_thread
from gateway.errors import Unauthenticated, Unavailable
from gateway.short_cache import ShortCache

Network = IPv4Network | IPv6Network


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """The account and person behind a request, and its key; ids as 32 hexadecimal digits.

    Empty `allowed_models` or `allowed_networks` allow all. A person who is signed in calls without
    a key: then only the account's rules count, and the request log keeps no content.
    """

    account_id: str
    user_id: str
    cipher: Cipher
    state: str  # A value of User.State.
    provider_choice: str  # A value of ProviderChoice, or "".
    tier: int
    unlimited: bool
    key_id: str | None = None
    retention_days: int = 0
    requests_per_minute: int | None = None
    allowed_models: frozenset[str] = frozenset()
    allowed_networks: tuple[Network, ...] = ()
    is_management: bool = False


async def authenticate(headers: Mapping[str, str], ip: str) -> Caller:
    """Return the caller by the key in `Authorization: Bearer` or `x-api-key`.

    Raises Unauthenticated, TooManyRequests for too many unknown keys of the address `ip`, or
    Unavailable when the database can't be reached.
    """
    text = _key_in(headers)
    try:
        if text in unknown_keys.known:
            return await _callers.get(text)
        await unknown_keys.admit(text, ip)
        caller = await _callers.get(text)
        unknown_keys.known.worked(text)
        return caller
    except InvalidKey as error:
        unknown_keys.known.failed(text, str(error))
        raise Unauthenticated(str(error)) from error
    except DatabaseError as error:
        raise Unavailable("Kyma can't check keys right now. Try again shortly.") from error


def _key_in(headers: Mapping[str, str]) -> str:
    scheme, _, text = headers.get("authorization", "").partition(" ")
    given = text.strip() if scheme.lower() == "bearer" else ""
    text = given or headers.get("x-api-key", "").strip()  # Anthropic's package may send both.
    if not text:
        raise Unauthenticated(
            "No API key given. Send the header 'Authorization: Bearer kyma-...' with a key from "
            "the dashboard, at /keys."
        )
    return text


async def _load(text: str) -> Caller:
    return await read_in_thread(_caller, text)


def _caller(text: str) -> Caller:
    key = keys.authenticate(text)
    try:
        person = signed_in(key.user)
    except KeyDestroyed as error:
        raise InvalidKey("The account of this key is closed.") from error
    return dataclasses.replace(
        person,
        key_id=key.id.hex,
        retention_days=key.retention_days,
        requests_per_minute=key.requests_per_minute,
        allowed_models=frozenset(key.allowed_models),
        allowed_networks=tuple(ip_network(one) for one in key.allowed_networks),
        is_management=key.is_management,
    )


def signed_in(user: User) -> Caller:
    """Return the caller for `user` without a key, as in the chat. Raises KeyDestroyed."""
    account = open_account(user)
    return Caller(
        account_id=account.id.hex,
        user_id=user.id.hex,
        cipher=data_keys.cipher_of(user.id),
        state=user.state,
        provider_choice=user.provider_choice,
        tier=account.tier,
        unlimited=account.unlimited,
    )


_callers = ShortCache(_load, settings.CACHE_TTL_S)
