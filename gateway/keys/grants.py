"""What a key that manages others may hand on: no more than it has.

Else a stolen one could give itself more by another, or outlive its end. The rule is one for
management keys at /v1/keys and for keys with the scope `keys` at /api/keys. Of a key that is
changed only what changes is checked: what stays is nobody's gain.
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
    """Raises Forbidden unless the key `own` may give another one these `rules`, columns of ApiKey.

    What a request may cost or ask can't be handed on in part: two keys with a cap spend it twice.
    """
    if has_limits(own):
        raise Forbidden(
            "A key with caps, models or a rate of its own makes and changes no other, which could "
            "have less of them. Use a key without, or sign in.",
            code="key_has_limits",
        )
    for name, check_rule in _CHECKS.items():
        if name in rules:
            check_rule(own, rules[name])


def rules_of(key: ApiKey) -> dict[str, Any]:
    """All that a key has which is new, or whose text is."""
    return {name: getattr(key, name) for name in _CHECKS}


def check_reach(own: ApiKey, other: ApiKey) -> None:
    """Raises Forbidden for a key with a scope that `own` lacks, or that manages keys.

    A management key reaches them all: it gives no scopes, and sees no text but of what it makes.
    """
    if not own.is_management:
        _check_scopes(own, other.scopes)


def _check_scopes(own: ApiKey, scopes: Collection[str]) -> None:
    """A key that could give the scope `keys` would multiply."""
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
            f"This key ends at {own_end}, and gives no other a later end: say so in `expires_at`.",
            code="beyond_own_end",
            param="expires_at",
        )


def _check_networks(own: ApiKey, networks: Collection[str]) -> None:
    limits = [ip_network(one) for one in own.allowed_networks]
    wanted = [ip_network(one) for one in networks]
    if limits and not (wanted and all(_is_within(one, limits) for one in wanted)):
        raise Forbidden(
            f"This key works from {', '.join(map(str, limits))} alone, and gives no other more: "
            "name networks within in `allowed_networks`, or sign in.",
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
            f"What this key asks is kept for {own.retention_days} days, and it gives no other "
            "more: say so in `retention_days`, or sign in.",
            code="beyond_own_retention",
            param="retention_days",
        )


_CHECKS: dict[str, Callable[[ApiKey, Any], None]] = {
    "scopes": _check_scopes,
    "expires_at": _check_end,
    "allowed_networks": _check_networks,
    "retention_days": _check_retention,
}
