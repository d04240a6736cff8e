"""The catalogue: each model with its routes, read from the database at most once a second.

A request keeps the routes that it found, so a price that changes meanwhile never re-prices it.
Pages read a catalogue of their own, without the keys and addresses of providers.
"""

import dataclasses
import datetime as dt
import functools
import logging
from collections.abc import Iterable
from typing import Any, Generic, Self, TypeVar

from django.conf import settings
from django.db import Error as DatabaseError
from django.db.models import QuerySet

from accounts.errors import SealBroken
from accounts.models import ProviderChoice
from billing.pricing import Price
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.access.consent import allows
from gateway.catalogue.strictness import REMOTE_IMAGES, marks_for
from gateway.database import read_in_thread
from gateway.errors import Unavailable
from gateway.models import Model, Route
from gateway.short_cache import SharedValue, ShortCache

logger = logging.getLogger(__name__)

EMBEDDING = "embedding"  # a capability
# The parameters that mean something only to models with a capability.
PARAMETERS_OF = {
    "tools": ("tools", "tool_choice", "parallel_tool_calls"),
    "json": ("response_format", "structured_outputs"),
    "reasoning": ("reasoning", "reasoning_effort"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class PublicRoute:
    """A route as everybody may know it."""

    route_id: str
    model: str
    provider: str
    provider_name: str
    privacy_policy_url: str
    retention: str
    states_retention: bool
    needed_choice: str
    price_version_id: str
    price: Price
    price_verified: bool
    context_length: int
    max_output_tokens: int
    quantization: str

    @classmethod
    def of(cls, route: Route, today: dt.date, **more: Any) -> Self:
        provider = route.provider
        context = route.context_length or route.model.context_length
        return cls(
            route_id=route.id.hex,
            model=route.model.slug,
            provider=provider.slug,
            provider_name=provider.name,
            privacy_policy_url=provider.privacy_policy_url,
            retention=provider.effective_retention,
            states_retention=provider.states_retention(today),
            needed_choice=provider.needed_choice(today),
            price_version_id=route.price_version_id.hex,
            price=route.price_version.price,
            price_verified=route.price_version.verified,
            context_length=context,
            max_output_tokens=min(context, route.model.max_output_tokens or context),
            quantization=route.quantization,
            **more,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate(PublicRoute):
    """A route as a request needs it, with its provider's address and key."""

    base_url: str
    api_key: str | None
    is_self_hosted: bool
    upstream_model: str
    cost_price: Price
    image_tokens: int
    template_tokens: int
    passthrough: bool
    unsupported: frozenset[str]
    wants_max_completion_tokens: bool
    stops_billing_on_cancel: bool

    def __repr__(self) -> str:
        return f"Candidate({self.route_id}, {self.provider})"  # Never the key.


AnyRoute = TypeVar("AnyRoute", bound=PublicRoute)


@dataclasses.dataclass(frozen=True)
class ModelEntry(Generic[AnyRoute]):
    """A model that can be used now, with its routes, the cheapest first."""

    slug: str
    name: str
    maker: str
    description: str
    hugging_face_id: str
    created: int
    context_length: int
    max_output_tokens: int | None
    capabilities: tuple[str, ...]
    candidates: tuple[AnyRoute, ...]

    @property
    def embeds(self) -> bool:
        return EMBEDDING in self.capabilities

    @property
    def writes(self) -> bool:
        """True if the model chats and completes: all do that don't only embed."""
        return not only_embeds(self.capabilities)

    @functools.cached_property
    def impossible(self) -> frozenset[str]:
        """The parameters that mean nothing to this model, for lack of a capability."""
        lacking = PARAMETERS_OF.keys() - set(self.capabilities)
        return frozenset(name for capability in lacking for name in PARAMETERS_OF[capability])

    @functools.cached_property
    def _by_choice(self) -> dict[str, tuple[AnyRoute, ...]]:
        return {
            choice: tuple(one for one in self.candidates if allows(choice, one.needed_choice))
            for choice in ("", *ProviderChoice.values)
        }

    def admitted(self, choice: str) -> tuple[AnyRoute, ...]:
        """Return the routes that a person's choice of providers allows (P7)."""
        return self._by_choice[choice]

    def usable_by(self, caller: Caller) -> tuple[AnyRoute, ...]:
        """Return the routes that the caller's key and choice of providers allow."""
        if not key_rules.allows_model(caller, self.slug):
            return ()
        return self.admitted(caller.provider_choice)

    def seen_by(self, caller: Caller) -> "ModelEntry[AnyRoute]":
        """Return the model with only the routes that the caller may use."""
        return dataclasses.replace(self, candidates=self.usable_by(caller))


def only_embeds(capabilities: tuple[str, ...]) -> bool:
    return capabilities == (EMBEDDING,)


async def catalogue() -> dict[str, ModelEntry[Candidate]]:
    """Return all models with a route, by slug. Raises Unavailable without a database."""
    try:
        return await _catalogue.get("all")
    except DatabaseError as error:
        raise Unavailable("Kyma can't read its catalogue right now. Try again shortly.") from error


def public_catalogue() -> dict[str, ModelEntry[PublicRoute]]:
    """Return all models with a route, by slug, for pages. They are at most CACHE_TTL_S old.

    No provider's key is opened, so a route counts even if its key can't be opened.
    """
    return _public_catalogue.get(settings.CACHE_TTL_S)


def offered(choice: str) -> dict[str, ModelEntry[PublicRoute]]:
    """Return the models that a choice of providers allows (P7), with only the allowed routes."""
    return {
        entry.slug: dataclasses.replace(entry, candidates=routes)
        for entry in public_catalogue().values()
        if (routes := entry.admitted(choice))
    }


def names_of(route_id: str) -> tuple[str, str] | None:
    """Return the provider and the model of a route that this process has loaded."""
    return _names.get(route_id)


async def _load(_: str) -> dict[str, ModelEntry[Candidate]]:
    entries = await read_in_thread(read_catalogue)
    for entry in entries.values():
        _names.update((one.route_id, (one.provider, one.model)) for one in entry.candidates)
    return entries


def read_catalogue() -> dict[str, ModelEntry[Candidate]]:
    """Read the models that have an enabled route through an enabled provider whose key opens."""
    today = dt.datetime.now(dt.UTC).date()
    found = []
    for route in _routes_in_use().select_related("cost_version"):
        try:
            found.append((route.model, _candidate(route, today)))
        except SealBroken:
            logger.error(
                "the key of provider %s can't be decrypted: set it again", route.provider.slug
            )
    return _by_model(found)


def _read_public_catalogue() -> dict[str, ModelEntry[PublicRoute]]:
    today = dt.datetime.now(dt.UTC).date()
    routes = _routes_in_use().defer("provider__api_key_sealed")
    return _by_model((route.model, PublicRoute.of(route, today)) for route in routes)


def _routes_in_use() -> QuerySet[Route]:
    routes = Route.objects.filter(enabled=True, provider__enabled=True, model__enabled=True)
    return routes.select_related("model", "provider", "price_version")


def _by_model(routes: Iterable[tuple[Model, AnyRoute]]) -> dict[str, ModelEntry[AnyRoute]]:
    by_model: dict[Model, list[AnyRoute]] = {}
    for model, route in routes:
        by_model.setdefault(model, []).append(route)
    return {model.slug: _entry(model, found) for model, found in by_model.items()}


def _entry(model: Model, routes: list[AnyRoute]) -> ModelEntry[AnyRoute]:
    cheapest_first = sorted(routes, key=lambda one: one.price.input + one.price.output)
    return ModelEntry(
        slug=model.slug,
        name=model.name,
        maker=model.maker,
        description=model.description,
        hugging_face_id=model.hugging_face_id,
        created=_created(model),
        context_length=model.context_length,
        max_output_tokens=model.max_output_tokens,
        capabilities=tuple(model.capabilities),
        candidates=tuple(cheapest_first),
    )


def _created(model: Model) -> int:
    """Return the Unix time at which the model came out, or was added if that isn't known."""
    if model.released is None:
        return int(model.created_at.timestamp())
    return int(dt.datetime.combine(model.released, dt.time(), dt.UTC).timestamp())


def _candidate(route: Route, today: dt.date) -> Candidate:
    """Return the route with its provider's key. Raises SealBroken."""
    provider = route.provider
    return Candidate.of(
        route,
        today,
        base_url=provider.base_url.rstrip("/"),
        api_key=provider.api_key,
        is_self_hosted=provider.self_hosted,
        upstream_model=route.upstream_model,
        cost_price=(route.cost_version or route.price_version).price,
        image_tokens=route.image_tokens,
        template_tokens=route.template_tokens,
        passthrough=route.passthrough,
        unsupported=unsupported_over(route),
        wants_max_completion_tokens=provider.wants_max_completion_tokens,
        stops_billing_on_cancel=provider.stops_billing_on_cancel,
    )


def unsupported_over(route: Route) -> frozenset[str]:
    """Return the fields that can't be sent over a route: its provider or model rejects them.

    Many providers refuse a reasoning effort for a model that doesn't think, and agents always send
    one. A self-hosted server stands inside the operator's network: a caller must not make it fetch
    addresses there.
    """
    marks = marks_for(route.upstream_model, route.provider.unsupported)
    if route.provider.self_hosted:
        marks = marks | {REMOTE_IMAGES}
    if route.passthrough or "reasoning" in route.model.capabilities:
        return marks
    return marks.union(PARAMETERS_OF["reasoning"])


_names: dict[str, tuple[str, str]] = {}
_catalogue = ShortCache(_load, settings.CACHE_TTL_S)
_public_catalogue = SharedValue(_read_public_catalogue)
