"""A request's wishes about its routes: OpenRouter's `provider` object and slug suffixes.

`admitted` returns the routes that a request allows, and the wishes that excluded the others.
`ordered` puts the admitted routes into the order in which they are tried. Routes with an open
breaker come last, and routes slower than preferred just before them. The rest is ordered by price,
but routes within 10 % of the cheapest are ordered by how soon they begin to answer. A session
sticks to one of these nearly equal routes instead, so that the provider's prompt cache serves it.
Rendezvous hashing picks the route, so every process picks the same, even after a restart.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from gateway.routing.health import RouteHealth

SORTS = {":nitro": "throughput", ":floor": "price"}
NEARLY_AS_CHEAP = (11, 10)  # As a fraction, since prices are integers.
NANO_PER_MILLION_USD = 10**9  # max_price is in USD per million tokens.


@dataclasses.dataclass(frozen=True, slots=True)
class Preferences:
    """The `provider` object after its check. A member that is None or empty expresses no wish."""

    order: tuple[str, ...] = ()
    only: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    quantizations: frozenset[str] = frozenset()
    sort: str | None = None
    max_price: tuple[tuple[str, int], ...] = ()
    max_latency_s: float = math.inf
    min_tokens_per_s: float = 0.0
    allow_fallbacks: bool = True
    denies_collection: bool = False
    wants_no_retention: bool = False
    required_fields: frozenset[str] = frozenset()
    requires_passthrough: bool = False
    requires_impossible: bool = False

    @classmethod
    def of(
        cls,
        provider: dict,
        *,
        sort: str | None,
        fields: frozenset[str],
        unknown: frozenset[str] = frozenset(),
        impossible: frozenset[str] = frozenset(),
    ) -> "Preferences":
        """Return the preferences that a `provider` object and a slug's suffix express.

        `sort` comes from the suffix; a `sort` in the object wins over it. `fields` are the
        request's fields that every provider gets, `unknown` are all its other fields, and
        `impossible` are fields that mean nothing to the model.
        """
        if not provider:
            return NO_WISH if sort is None else cls(sort=sort)
        wished, is_strict = provider.get("sort"), bool(provider.get("require_parameters"))
        return cls(
            order=tuple(_slugs(provider.get("order"))),
            only=frozenset(_slugs(provider.get("only"))),
            ignore=frozenset(_slugs(provider.get("ignore"))),
            quantizations=frozenset(_slugs(provider.get("quantizations"))),
            sort=(wished.get("by") if isinstance(wished, dict) else wished) or sort,
            max_price=tuple(_prices(provider.get("max_price") or {})),
            max_latency_s=min(_cutoffs(provider.get("preferred_max_latency")), default=math.inf),
            min_tokens_per_s=max(_cutoffs(provider.get("preferred_min_throughput")), default=0.0),
            allow_fallbacks=provider.get("allow_fallbacks") is not False,
            denies_collection=provider.get("data_collection") == "deny",
            wants_no_retention=bool(provider.get("zdr")),
            required_fields=fields | unknown if is_strict else frozenset(),
            requires_passthrough=is_strict and bool(unknown),
            requires_impossible=is_strict and bool(fields & impossible),
        )

    def is_met_by(self, state: RouteHealth) -> bool:
        """True when nothing is known that makes the route slower than preferred."""
        latency_ms, tokens_per_s = state.latency_ms, state.tokens_per_s
        return (latency_ms is None or latency_ms <= self.max_latency_s * 1000) and (
            tokens_per_s is None or tokens_per_s >= self.min_tokens_per_s
        )

    @property
    def rules(self) -> dict[str, Callable[[Any], bool]]:
        """Return the conditions that a route must meet, by the name that a refusal uses."""
        return {
            "provider.only": lambda one: not self.only or one.provider in self.only,
            "provider.ignore": lambda one: one.provider not in self.ignore,
            "provider.order": lambda one: (
                self.allow_fallbacks or not self.order or one.provider in self.order
            ),
            "provider.quantizations": lambda one: (
                not self.quantizations or _quantization(one) in self.quantizations
            ),
            "provider.max_price": lambda one: all(
                getattr(one.price, name) <= most for name, most in self.max_price
            ),
            "provider.data_collection": lambda one: (
                not self.denies_collection or _keeps_nothing(one)
            ),
            "data_policy:zdr": lambda one: not self.wants_no_retention or _keeps_nothing(one),
            "provider.require_parameters": lambda one: (
                not self.requires_impossible
                and not self.required_fields & one.unsupported
                and (one.passthrough or not self.requires_passthrough)
            ),
        }


NO_WISH = Preferences()


def split_suffix(slug: str) -> tuple[str, str | None]:
    """Split `model:nitro` into ("model", "throughput"). An unknown suffix stays in the slug."""
    for suffix, sort in SORTS.items():
        if slug.endswith(suffix):
            return slug.removesuffix(suffix), sort
    return slug, None


def admitted(routes: tuple, preferences: Preferences) -> tuple[tuple, list[str]]:
    """Return the routes that meet every wish, and the wishes that excluded a route."""
    if preferences is NO_WISH:
        return routes, []
    excluded_by = []
    for name, is_met in preferences.rules.items():
        kept = tuple(route for route in routes if is_met(route))
        if len(kept) < len(routes):
            excluded_by.append(name)
        routes = kept
    return routes, excluded_by


def ordered(
    routes: tuple,
    preferences: Preferences,
    health: Callable[[str], RouteHealth],
    now: float,
    session: str = "",
) -> tuple:
    """Return `routes` in the order in which they are tried."""
    if len(routes) < 2:
        return routes
    cheapest = min(_cost(route) for route in routes)
    most, of = NEARLY_AS_CHEAP

    def rank(route) -> tuple:
        state = health(route.route_id)
        latency = state.latency_ms or 0.0  # An untried route ranks as fast, so that it gets tried.
        by_sort: tuple
        if preferences.sort == "latency":
            by_sort = (latency, _cost(route))
        elif preferences.sort == "throughput":
            speed = math.inf if state.tokens_per_s is None else state.tokens_per_s
            by_sort = (-speed, latency, _cost(route))
        elif preferences.sort == "price" or _cost(route) * of > cheapest * most:
            by_sort = (_cost(route), latency)
        else:
            by_sort = (cheapest, _affinity(session, route.route_id) if session else latency)
        place, is_slow = _place(route.provider, preferences.order), not preferences.is_met_by(state)
        return (place, state.is_open(now), is_slow, *by_sort)

    in_order = tuple(sorted(routes, key=rank))
    only_the_first = not preferences.allow_fallbacks and not preferences.order
    return in_order[:1] if only_the_first else in_order


def _affinity(session: str, route_id: str) -> int:
    digest = hashlib.blake2b(f"{session}:{route_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


def _cost(route) -> int:
    return route.price.input + route.price.output


def _place(provider: str, order: tuple[str, ...]) -> int:
    return order.index(provider) if provider in order else len(order)


def _keeps_nothing(route) -> bool:
    return route.retention == "none" and route.states_retention


def _quantization(route) -> str:
    return (route.quantization or "unknown").lower()  # OpenRouter's word for a missing one.


def _slugs(names: list[str] | None) -> list[str]:
    return [name.lower() for name in names or ()]


def _cutoffs(preferred: float | dict[str, float] | None) -> list[float]:
    """Return the cutoffs as a list: the caller gives one number, or one for each percentile.

    Kyma knows no percentiles and compares its moving average with each of them.
    """
    if isinstance(preferred, dict):
        return list(preferred.values())
    return [] if preferred is None else [preferred]


def _prices(max_price: dict) -> list[tuple[str, int]]:
    """Convert USD to nano-dollars: per million tokens, per request and per image."""
    names = {"prompt": "input", "completion": "output", "request": "request", "image": "image"}
    return [
        (names[name], int(Decimal(str(value)) * NANO_PER_MILLION_USD))
        for name, value in max_price.items()
        if name in names and value is not None
    ]
