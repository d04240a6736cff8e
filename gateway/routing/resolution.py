"""Which routes a request may take, and in which order.

The catalogue is read from the database at most once a second; what a request was admitted
with stays with it, so a price that changes meanwhile never re-prices it. Pages read a catalogue of
their own, which holds neither keys nor addresses of providers.
"""

import dataclasses
import functools
import logging
import time

from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.catalogue import aliases, claude_code
from gateway.catalogue.entries import Candidate, ModelEntry, catalogue
from gateway.dialects.request import EMBEDDINGS, Endpoint, ProviderRequest
from gateway.errors import GatewayError, InvalidRequest, ModelNotFound, NotFound
from gateway.routing import health as route_health
from gateway.routing import preferences
from gateway.routing.preferences import Preferences

logger = logging.getLogger(__name__)

MAX_NAMED = 80  # Characters of an unknown model's name that its error repeats.
DATA_POLICY = "data_policy:retention"
MAX_ATTEMPTS = 3
MAX_ATTEMPTS_OF_EACH = 2  # when a request names several models
MAX_ATTEMPTS_OF_ALL = 6


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
