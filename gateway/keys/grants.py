"""The rule for a key that manages other keys: it may not give more than it has.

Without it a thief could use a stolen key to make one that may do more, or that outlives it. The
same rule holds for management keys at /v1/keys and for keys with the scope `keys` at /api/keys.
When a key is changed only the changed rules are checked, since the others gain nothing.
"""

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_network
from typing import Any

from accounts.models import ApiKey
from gateway.access.authentication import Network
from gateway.access.rules import has_limits
from gateway.errors import Forbidden


def check(own: ApiKey, rules: Mapping[str, Any]) -> None:
    """Raise Forbidden unless the key `own` may give another key these `rules`, columns of ApiKey.

    A key with limits of its own may make no other: two keys with the same cap could spend it twice.
    """
    if has_limits(own):
        raise Forbidden(
            "A key with caps, models or a rate of its own can't make or change keys, which could "
            "be limited less. Use a key without such limits, or sign in.",
            code="key_has_limits",
        )
    for name, check_rule in _CHECKS.items():
        if name in rules:
            check_rule(own, rules[name])


def rules_of(key: ApiKey) -> dict[str, Any]:
    """Return the rules to check when a key is created, or rotated and so given a new secret."""
    return {name: getattr(key, name) for name in _CHECKS}


def check_reach(own: ApiKey, other: ApiKey) -> None:
    """Raise Forbidden if the key `other` has a scope that `own` lacks, or the scope `keys`.

    A management key reaches all keys: it gives no scopes, and sees only the secrets of keys that
    it makes.
    """
    if not own.is_management:
        _check_scopes(own, other.scopes)


def _check_scopes(own: ApiKey, scopes: Collection[str]) -> None:
    """Raise Forbidden for a scope that `own` can't give; `keys` is one, or keys could multiply."""
    beyond = {*scopes} - ({*own.scopes} - {ApiKey.Scope.KEYS.value})
    if beyond:
        names = ", ".join(f"`{one}`" for one in sorted(beyond))
        raise Forbidden(
            f"A key can't manage keys with the scope {names}: sign in to do that.",
            code="beyond_own_scopes",
        )


def _check_end(own: ApiKey, end: dt.datetime | None) -> None:
    if own.expires_at and (end is None or end > own.expires_at):
        own_end = f"{own.expires_at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
        raise Forbidden(
            f"This key ends at {own_end} and can't give another key a later end: set `expires_at` "
            "to that time or earlier.",
            code="beyond_own_end",
            param="expires_at",
        )


def _check_networks(own: ApiKey, networks: Collection[str]) -> None:
    limits = [ip_network(one) for one in own.allowed_networks]
    wanted = [ip_network(one) for one in networks]
    if limits and not (wanted and all(_is_within(one, limits) for one in wanted)):
        raise Forbidden(
            f"This key works only from {', '.join(map(str, limits))} and can't allow another key "
            "more: set `allowed_networks` to networks within these, or sign in.",
            code="beyond_own_networks",
            param="allowed_networks",
        )


def _is_within(network: Network, limits: Collection[Network]) -> bool:
    version, first, last = _span(network)
    spans = map(_span, limits)
    return any(one == version and low <= first and last <= high for one, low, high in spans)


def _span(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), int(network.broadcast_address)


def _check_retention(own: ApiKey, days: int) -> None:
    if days > own.retention_days:
        raise Forbidden(
            f"Requests with this key are kept for {own.retention_days} days, and it can't allow "
            "another key more: set `retention_days` to that or less, or sign in.",
            code="beyond_own_retention",
            param="retention_days",
        )


_CHECKS: dict[str, Callable[[ApiKey, Any], None]] = {
    "scopes": _check_scopes,
    "expires_at": _check_end,
    "allowed_networks": _check_networks,
    "retention_days": _check_retention,
}
