"""Which routes a request may take, and in which order.

The catalogue is read from the database at most once a second; what a request was admitted
with stays with it, so a price that changes meanwhile never re-prices it. Pages read a catalogue of
their own, which holds neither keys nor addresses of providers.
"""

import dataclasses
import datetime as dt
import functools
import logging
import time
from collections.abc import Iterable
from typing import Any, Generic, Self, TypeVar

from django.conf import settings
from django.db import Error as DatabaseError
from django.db.models import QuerySet

from accounts.errors import SealBroken
from billing.pricing import Price
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.catalogue import aliases, claude_code
from gateway.catalogue.strictness import marks_for
from gateway.database import in_thread
from gateway.dialects.request import EMBEDDINGS, Endpoint, ProviderRequest
from gateway.errors import GatewayError, InvalidRequest, ModelNotFound, NotFound, Unavailable
from gateway.models import Model, Provider, Route
from gateway.routing import health as route_health
from gateway.routing import preferences
from gateway.routing.preferences import Preferences
from gateway.short_cache import SharedValue, ShortCache

logger = logging.getLogger(__name__)

EMBEDDING = "embedding"  # A capability.
# What only models with a capability can do.
PARAMETERS_OF = {
    "tools": ("tools", "tool_choice", "parallel_tool_calls"),
    "json": ("response_format", "structured_outputs"),
    "reasoning": ("reasoning", "reasoning_effort"),
}
MAX_NAMED = 80  # Characters of an unknown model's name that its error repeats.
DATA_POLICY = "data_policy:retention"
MAX_ATTEMPTS = 3
MAX_ATTEMPTS_OF_EACH = 2  # when a request names several models
MAX_ATTEMPTS_OF_ALL = 6


@dataclasses.dataclass(frozen=True, slots=True)
class PublicRoute:
    """A route with what everybody may know of it."""

    route_id: str
    model: str
    provider: str
    provider_name: str
    privacy_policy_url: str
    retention: str
    states_retention: bool
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
            # With a process of the operator's own nothing leaves the house.
            retention=Provider.Retention.NONE if provider.self_hosted else provider.retention,
            states_retention=provider.states_retention(today),
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
    """A route with all that a request needs to know of it, its provider's key among that."""

    base_url: str
    api_key: str | None
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
        """Whether it chats and completes: all do, but those that can do nothing but embed."""
        return not only_embeds(self.capabilities)

    @functools.cached_property
    def impossible(self) -> frozenset[str]:
        """The parameters that it lacks the capability for."""
        lacking = PARAMETERS_OF.keys() - set(self.capabilities)
        return frozenset(name for capability in lacking for name in PARAMETERS_OF[capability])

    @functools.cached_property
    def _stating_retention(self) -> tuple[AnyRoute, ...]:
        return tuple(one for one in self.candidates if one.states_retention)

    def admitted(self, *, allows_unstated: bool) -> tuple[AnyRoute, ...]:
        """The routes that a data policy admits (P7): all, or those whose provider states what it
        keeps.
        """
        return self.candidates if allows_unstated else self._stating_retention

    def usable_by(self, caller: Caller) -> tuple[AnyRoute, ...]:
        """The routes that the caller's key and data policy admit."""
        if not key_rules.allows_model(caller, self.slug):
            return ()
        return self.admitted(allows_unstated=caller.allows_unstated_retention)

    def seen_by(self, caller: Caller) -> "ModelEntry[AnyRoute]":
        """The model with those routes alone that the caller may use."""
        return dataclasses.replace(self, candidates=self.usable_by(caller))


def only_embeds(capabilities: tuple[str, ...]) -> bool:
    return capabilities == (EMBEDDING,)


async def catalogue() -> dict[str, ModelEntry[Candidate]]:
    """All models with a route, by slug. Raises Unavailable without a database."""
    try:
        return await _catalogue.get("all")
    except DatabaseError as error:
        raise Unavailable("Kyma can't read its catalogue right now. Try again shortly.") from error


def public_catalogue() -> dict[str, ModelEntry[PublicRoute]]:
    """All models with a route, by slug, for pages: as they were at most CACHE_TTL_S ago.

    A route counts even if its provider's key doesn't open: here none is opened.
    """
    return _public_catalogue.get(settings.CACHE_TTL_S)


def offered(*, allows_unstated: bool) -> dict[str, ModelEntry[PublicRoute]]:
    """The models that a data policy admits, with those routes alone that it does (P7)."""
    return {
        entry.slug: dataclasses.replace(entry, candidates=routes)
        for entry in public_catalogue().values()
        if (routes := entry.admitted(allows_unstated=allows_unstated))
    }


def names_of(route_id: str) -> tuple[str, str] | None:
    """The provider and the model of a route that this process has seen in its catalogue."""
    return _names.get(route_id)


@dataclasses.dataclass(frozen=True, slots=True)
class Resolution:
    """The routes to try, in order, and by which alias each of their models was asked for."""

    routes: tuple[Candidate, ...]
    aliases: dict[str, str]


async def resolve(request: ProviderRequest, caller: Caller, session: str = "") -> Resolution:
    """What `request` may be answered by: routes of its model, then of its fallbacks (`models`).

    A fallback that can't be used is passed over. Raises ModelNotFound, Forbidden, NotFound.
    """
    models = await catalogue()
    found: dict[str, _Asked] = {}
    for slug in request.models:
        if one := _find(slug, models, caller):
            found.setdefault(one.entry.slug, one)
    if not found:
        raise _none_such(request.models[0])
    most = MAX_ATTEMPTS if len(found) == 1 else MAX_ATTEMPTS_OF_EACH
    routes: list[Candidate] = []
    refusals: list[GatewayError] = []
    for asked in found.values():
        try:
            routes += _routes(asked, request, caller, session)[:most]
        except GatewayError as refusal:
            refusals.append(refusal)
    if not routes:
        raise refusals[0]
    return Resolution(
        tuple(routes[:MAX_ATTEMPTS_OF_ALL]),
        {slug: one.alias for slug, one in found.items() if one.alias},
    )


def _none_such(name: str) -> ModelNotFound:
    alias, _ = preferences.split_suffix(claude_code.own_name(name))
    if alias in aliases.ALIASES:
        problem = f"None of the models that {alias} stands for can be used now."
    else:
        problem = f'There is no model "{name[:MAX_NAMED]}".'
    return ModelNotFound(f"{problem} GET /v1/models lists those that can be used.", param="model")


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """A model as it was asked for: by which alias, and how its suffix wants its routes sorted."""

    entry: ModelEntry[Candidate]
    alias: str
    sort: str | None


def _find(name: str, models: dict[str, ModelEntry[Candidate]], caller: Caller) -> _Asked | None:
    slug = claude_code.own_name(name)
    plain, sort = (slug, None) if slug in models else preferences.split_suffix(slug)
    if plain in models:
        return _Asked(models[plain], "", sort)
    meant = alias_target(plain, models, caller)
    return _Asked(models[meant], plain, sort) if meant else None


def alias_target(alias: str, models: dict[str, ModelEntry], caller: Caller) -> str | None:
    """The model that `alias` means to this caller, if there is one."""
    return aliases.model_of(
        alias, lambda slug: slug in models and bool(models[slug].usable_by(caller))
    )


def _routes(
    asked: _Asked, request: ProviderRequest, caller: Caller, session: str
) -> tuple[Candidate, ...]:
    """The routes of one model in the order in which to try them.

    Raises Forbidden, InvalidRequest, NotFound.
    """
    key_rules.check_model(caller, asked.entry.slug)
    _check_ability(asked.entry, request.endpoint)
    allowed = _usable(asked.entry, caller)
    usable = _serving(allowed, asked.entry, request)
    wishes = Preferences.of(
        request.routing.get("provider", {}),
        sort=asked.sort,
        fields=frozenset(request.fields),
        unknown=frozenset(request.unknown),
        impossible=asked.entry.impossible,
    )
    admitted, excluded_by = preferences.admitted(usable, wishes)
    if not admitted:
        by_policy = [DATA_POLICY] if len(allowed) < len(asked.entry.candidates) else []
        raise NotFound(
            f"No provider of {asked.entry.slug} fits this request's `provider` wishes. "
            "Loosen them.",
            code="no_route",
            param="provider",
            metadata={"excluded_by": by_policy + excluded_by},
        )
    health = functools.partial(route_health.of, path=request.endpoint.path)
    return preferences.ordered(admitted, wishes, health, time.monotonic(), session)


def _usable(entry: ModelEntry[Candidate], caller: Caller) -> tuple[Candidate, ...]:
    usable = entry.usable_by(caller)
    if not usable:
        raise NotFound(
            f"No provider of {entry.slug} states how long it keeps data, and this account uses "
            "only those that do. Allow others in the privacy settings, or choose another model.",
            code="no_route",
            param="model",
            metadata={"excluded_by": [DATA_POLICY]},
        )
    return usable


def _check_ability(entry: ModelEntry, endpoint: Endpoint) -> None:
    if endpoint is EMBEDDINGS and not entry.embeds:
        raise InvalidRequest(
            f"{entry.slug} makes no embeddings. Use POST /v1/chat/completions, or choose a model "
            "whose output_modalities in GET /v1/models include embeddings.",
            param="model",
            code="wrong_endpoint",
        )
    if endpoint is not EMBEDDINGS and not entry.writes:
        raise InvalidRequest(
            f"{entry.slug} makes embeddings and nothing else. Use POST /v1/embeddings, or choose "
            "another model.",
            param="model",
            code="wrong_endpoint",
        )


def _serving(
    routes: tuple[Candidate, ...], entry: ModelEntry, request: ProviderRequest
) -> tuple[Candidate, ...]:
    """The routes whose provider has the endpoint, and gives several answers if it must."""
    path = request.endpoint.path
    needs = [(path, f"endpoint:{path}", f"serves POST /v1{path}")]
    if request.n > 1:
        needs.append(("n", "parameter:n", "gives several answers to one request (`n`)"))
    for name, reason, deed in needs:
        routes = tuple(one for one in routes if name not in one.unsupported)
        if not routes:
            raise NotFound(
                f"No provider of {entry.slug} {deed}. Choose another model, or ask otherwise.",
                code="no_route",
                param="model",
                metadata={"excluded_by": [reason]},
            )
    return routes


async def _load(_: str) -> dict[str, ModelEntry[Candidate]]:
    entries = await in_thread(read_catalogue)
    for entry in entries.values():
        _names.update((one.route_id, (one.provider, one.model)) for one in entry.candidates)
    return entries


def read_catalogue() -> dict[str, ModelEntry[Candidate]]:
    """The models that have an enabled route through an enabled provider whose key opens."""
    today = dt.datetime.now(dt.UTC).date()
    found = []
    for route in _routes_in_use().select_related("cost_version"):
        try:
            found.append((route.model, _candidate(route, today)))
        except SealBroken:
            logger.error("the key of provider %s doesn't open: set it anew", route.provider.slug)
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
    """When the model came out, as far as is known; Unix time."""
    if model.released is None:
        return int(model.created_at.timestamp())
    return int(dt.datetime.combine(model.released, dt.time(), dt.UTC).timestamp())


def _candidate(route: Route, today: dt.date) -> Candidate:
    """Raises SealBroken."""
    provider = route.provider
    return Candidate.of(
        route,
        today,
        base_url=provider.base_url.rstrip("/"),
        api_key=provider.api_key,
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
    """What can't be sent over it, for its provider's sake or its model's.

    Many providers refuse an effort for a model that doesn't think, and agents always send one.
    """
    marks = marks_for(route.upstream_model, route.provider.unsupported)
    if route.passthrough or "reasoning" in route.model.capabilities:
        return marks
    return marks.union(PARAMETERS_OF["reasoning"])


_names: dict[str, tuple[str, str]] = {}
_catalogue = ShortCache(_load, settings.CACHE_TTL_S)
_public_catalogue = SharedValue(_read_public_catalogue)
