"""The rules for using a key: is its account open, where does it work, what may it be used for."""

import dataclasses
from collections.abc import Collection
from typing import Protocol

from accounts.models import ApiKey, User
from billing.key_caps import caps_of
from gateway.access import client_address
from gateway.access.authentication import Caller, Network
from gateway.errors import Forbidden

MANAGEMENT_ONLY = "This is a management key: it works at /v1/keys alone. Use an ordinary key here."


class Rights(Protocol):
    """The rules that decide which models may be used. A Caller has them."""

    @property
    def provider_choice(self) -> str: ...

    @property
    def allowed_models(self) -> frozenset[str]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class DefaultRights:
    """The rights of a new account, by which models are listed to those who show no key."""

    provider_choice: str = ""
    allowed_models: frozenset[str] = frozenset()


_CLOSED: dict[str, str] = {
    User.State.SUSPENDED: "This account is suspended. Write to privacy@kymaapi.com.",
    User.State.ERASING: "This account is being erased.",
}


def check_state(state: str) -> None:
    """Raise Forbidden unless the account is open."""
    message = _CLOSED.get(state)
    if message:
        raise Forbidden(message, code=f"account_{state}")


def check_address(caller: Caller, ip: str) -> None:
    """Raise Forbidden unless the key works at this address. The error names no allowed address."""
    check_networks(caller.allowed_networks, ip)


def check_networks(allowed: Collection[Network], ip: str) -> None:
    """Raise Forbidden unless the address is in one of the networks; no networks allow any."""
    if not allowed:
        return
    address = client_address.parse(ip)
    if address is None or not any(address in network for network in allowed):
        raise Forbidden(
            "This key doesn't work from this address. Its owner can change the allowed networks.",
            code="ip_not_allowed",
        )


def allows_model(caller: Rights, slug: str) -> bool:
    return not caller.allowed_models or slug in caller.allowed_models


def check_model(caller: Caller, slug: str) -> None:
    """Raise Forbidden unless the key may use the model `slug`, with aliases already resolved."""
    if not allows_model(caller, slug):
        raise Forbidden(
            f"This key may not use {slug}. GET /v1/models lists what it may use.",
            code="model_not_allowed",
            param="model",
        )


def refuse_management(caller: Caller) -> None:
    """Raise Forbidden for a management key, which can only manage keys and read the account."""
    if caller.is_management:
        raise Forbidden(MANAGEMENT_ONLY, code="management_key")


def require_management(caller: Caller) -> None:
    if not caller.is_management:
        raise Forbidden(
            "Keys are managed with a management key, and this is an ordinary one.",
            code="management_key_required",
        )


def take_any(caller: Caller) -> None:
    """Accept every key: the check for requests that need none."""


def check_may_chat(key: ApiKey) -> None:
    """Raise Forbidden for a key with limits of its own.

    A turn of the chat is sent and paid by the account, so the key's limits would not count.
    """
    if has_limits(key):
        raise Forbidden(
            "A key with caps, models or a rate of its own can't start a reply in the chat, where "
            "only the account's limits count. Use another key, or call /v1/chat/completions.",
            code="key_has_limits",
        )


def has_limits(key: ApiKey) -> bool:
    """True when the key may spend or request less than its account."""
    is_capped = any(cap is not None for cap in caps_of(key).values())
    return bool(is_capped or key.allowed_models or key.requests_per_minute)
