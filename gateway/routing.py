"""Which routes a request may take, and in which order.

The catalogue is read from the database at most once a second; what a request was admitted
with stays with it, so a price that changes meanwhile never re-prices it.
"""

import dataclasses
import datetime as dt
import functools
import logging
import time

from django.conf import settings
from django.db import Error as DatabaseError

from accounts.errors import SealBroken
from billing.pricing import Price
from gateway import preferences, route_health
from gateway.authentication import Caller
from gateway.database import in_thread
from gateway.errors import InvalidRequest, ModelNotFound, NotFound, Unavailable
from gateway.models import Model, Provider, Route
from gateway.preferences import Preferences
from gateway.provider_request import EMBEDDINGS, Endpoint, ProviderRequest
from gateway.short_cache import ShortCache

logger = logging.getLogger(__name__)

EMBEDDING = "embedding"  # A capability.


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A route with all that a request needs to know of it."""

    route_id: str
    provider: str
    provider_name: str
    privacy_policy_url: str
    retention: str
    states_retention: bool
    base_url: str
    api_key: str | None
    upstream_model: str
    price_version_id: str
    price: Price
    cost_price: Price
    price_verified: bool
    context_length: int
    image_tokens: int
    quantization: str
    passthrough: bool
    unsupported: frozenset[str]
    wants_max_completion_tokens: bool
    stops_billing_on_cancel: bool

    def __repr__(self) -> str:
        return f"Candidate({self.route_id}, {self.provider})"  # Never the key.


@dataclasses.dataclass(frozen=True, slots=True)
class ModelEntry:
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
    candidates: tuple[Candidate, ...]

    @property
    def embeds(self) -> bool:
        return EMBEDDING in self.capabilities

    @property
    def writes(self) -> bool:
        """Whether it chats and completes: all do, but those that can do nothing but embed."""
        return not only_embeds(self.capabilities)

    def usable_by(self, caller: Caller) -> tuple[Candidate, ...]:
        """The routes that the caller's data policy admits (P7)."""
        if caller.allows_unstated_retention:
            return self.candidates
        return tuple(one for one in self.candidates if one.states_retention)

    def seen_by(self, caller: Caller) -> "ModelEntry":
        """The model with those routes alone that the caller may use."""
        return dataclasses.replace(self, candidates=self.usable_by(caller))


def only_embeds(capabilities: tuple[str, ...]) -> bool:
    return capabilities == (EMBEDDING,)


async def catalogue() -> dict[str, ModelEntry]:
    """All models with a route, by slug. Raises Unavailable without a database."""
    try:
        return await _catalogue.get("all")
    except DatabaseError as error:
        raise Unavailable("Kyma can't read its catalogue right now. Try again shortly.") from error


async def resolve(
    chat: ProviderRequest, caller: Caller
) -> tuple[ModelEntry, tuple[Candidate, ...]]:
    """The model and the routes to try, in order. Raises InvalidRequest, NotFound."""
    entry, sort = await _find(chat.model)
    _check_ability(entry, chat.endpoint)
    usable = _serving(_usable(entry, caller), entry, chat.endpoint)
    wishes = Preferences.of(
        chat.routing.get("provider", {}), sort=sort, fields=frozenset(chat.fields)
    )
    admitted, excluded_by = preferences.admitted(usable, wishes)
    if not admitted:
        raise NotFound(
            f"No provider of {entry.slug} fits this request's `provider` wishes. Loosen them.",
            code="no_route",
            param="provider",
            metadata={"excluded_by": excluded_by},
        )
    health = functools.partial(route_health.of, path=chat.endpoint.path)
    return entry, preferences.ordered(admitted, wishes, health, time.monotonic())


async def _find(slug: str) -> tuple[ModelEntry, str | None]:
    """The model, and how the slug's suffix wants its routes sorted. Raises ModelNotFound."""
    models = await catalogue()
    plain, sort = (slug, None) if slug in models else preferences.split_suffix(slug)
    if plain not in models:
        raise ModelNotFound(
            "There is no such model. GET /v1/models lists those that can be used.", param="model"
        )
    return models[plain], sort


def _usable(entry: ModelEntry, caller: Caller) -> tuple[Candidate, ...]:
    usable = entry.usable_by(caller)
    if not usable:
        raise NotFound(
            f"No provider of {entry.slug} states how long it keeps data, and this account uses "
            "only those that do. Allow others in the privacy settings, or choose another model.",
            code="no_route",
            param="model",
            metadata={"excluded_by": ["data_policy:retention"]},
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
    routes: tuple[Candidate, ...], entry: ModelEntry, endpoint: Endpoint
) -> tuple[Candidate, ...]:
    """The routes whose provider has the endpoint."""
    serving = tuple(one for one in routes if endpoint.path not in one.unsupported)
    if not serving:
        raise NotFound(
            f"No provider of {entry.slug} serves POST /v1{endpoint.path}. Choose another model, or "
            "another endpoint.",
            code="no_route",
            param="model",
            metadata={"excluded_by": [f"endpoint:{endpoint.path}"]},
        )
    return serving


async def _load(_: str) -> dict[str, ModelEntry]:
    return await in_thread(read_catalogue)


def read_catalogue() -> dict[str, ModelEntry]:
    """The models that have an enabled route through an enabled provider."""
    today = dt.datetime.now(dt.UTC).date()
    routes = Route.objects.filter(enabled=True, provider__enabled=True, model__enabled=True)
    by_model: dict[Model, list[Candidate]] = {}
    for route in routes.select_related("model", "provider", "price_version", "cost_version"):
        try:
            candidate = _candidate(route, today)
        except SealBroken:
            logger.error("the key of provider %s doesn't open: set it anew", route.provider.slug)
        else:
            by_model.setdefault(route.model, []).append(candidate)
    return {model.slug: _entry(model, found) for model, found in by_model.items()}


def _entry(model: Model, candidates: list[Candidate]) -> ModelEntry:
    cheapest_first = sorted(candidates, key=lambda one: one.price.input + one.price.output)
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
    provider = route.provider
    return Candidate(
        route_id=route.id.hex,
        provider=provider.slug,
        provider_name=provider.name,
        privacy_policy_url=provider.privacy_policy_url,
        # With a process of the operator's own nothing leaves the house.
        retention=Provider.Retention.NONE if provider.self_hosted else provider.retention,
        states_retention=provider.states_retention(today),
        base_url=provider.base_url.rstrip("/"),
        api_key=provider.api_key,
        upstream_model=route.upstream_model,
        price_version_id=route.price_version_id.hex,
        price=route.price_version.price,
        cost_price=(route.cost_version or route.price_version).price,
        price_verified=route.price_version.verified,
        context_length=route.context_length or route.model.context_length,
        image_tokens=route.image_tokens,
        quantization=route.quantization,
        passthrough=route.passthrough,
        unsupported=frozenset(provider.unsupported),
        wants_max_completion_tokens=provider.wants_max_completion_tokens,
        stops_billing_on_cancel=provider.stops_billing_on_cancel,
    )


_catalogue = ShortCache(_load, settings.CACHE_TTL_S)
