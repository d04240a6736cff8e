"""Resolves a request: finds the routes that may answer it, and their order.

The key, the account's data policy, the endpoint and the request itself exclude routes of the
catalogue; `preferences` orders the rest. A request keeps the routes that it was resolved to, so a
price that changes meanwhile never re-prices it.
"""

import dataclasses
import functools
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

MAX_NAMED = 80  # Characters of an unknown model's name that its error repeats.
DATA_POLICY = "data_policy:retention"
MAX_ATTEMPTS = 3
MAX_ATTEMPTS_OF_EACH = 2  # when a request names several models
MAX_ATTEMPTS_OF_ALL = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Resolution:
    """The routes to try, in order, and the aliases by which the request names their models."""

    routes: tuple[Candidate, ...]
    aliases: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class _Named:
    """A model as the request names it, by an alias or not; `sort` comes from a suffix."""

    entry: ModelEntry[Candidate]
    alias: str
    sort: str | None


async def resolve(request: ProviderRequest, caller: Caller, session: str = "") -> Resolution:
    """Return the routes of the model that `request` names, then those of its fallbacks (`models`).

    A model that can't be used is left out if another can.
    Raises ModelNotFound, Forbidden, InvalidRequest, NotFound.
    """
    models = await catalogue()
    found: dict[str, _Named] = {}
    for name in request.models:
        if one := _find(name, models, caller):
            found.setdefault(one.entry.slug, one)
    if not found:
        raise _not_found(request.models[0])
    most = MAX_ATTEMPTS if len(found) == 1 else MAX_ATTEMPTS_OF_EACH
    routes: list[Candidate] = []
    refusals: list[GatewayError] = []
    for named in found.values():
        try:
            routes += _routes(named, request, caller, session)[:most]
        except GatewayError as refusal:
            refusals.append(refusal)
    if not routes:
        raise refusals[0]
    return Resolution(
        tuple(routes[:MAX_ATTEMPTS_OF_ALL]),
        {slug: one.alias for slug, one in found.items() if one.alias},
    )


# --- from a name to a model


def _find(name: str, models: dict[str, ModelEntry[Candidate]], caller: Caller) -> _Named | None:
    slug = claude_code.own_name(name)
    plain, sort = (slug, None) if slug in models else preferences.split_suffix(slug)
    if plain in models:
        return _Named(models[plain], "", sort)
    meant = alias_target(plain, models, caller)
    return _Named(models[meant], plain, sort) if meant else None


def alias_target(alias: str, models: dict[str, ModelEntry], caller: Caller) -> str | None:
    """Return the model that `alias` means to this caller, or None."""
    return aliases.model_of(
        alias, lambda slug: slug in models and bool(models[slug].usable_by(caller))
    )


def _not_found(name: str) -> ModelNotFound:
    alias, _ = preferences.split_suffix(claude_code.own_name(name))
    if alias in aliases.ALIASES:
        problem = f"None of the models that {alias} stands for can be used now."
    else:
        problem = f'There is no model "{name[:MAX_NAMED]}".'
    return ModelNotFound(f"{problem} GET /v1/models lists those that can be used.", param="model")


# --- from a model to its routes


def _routes(
    named: _Named, request: ProviderRequest, caller: Caller, session: str
) -> tuple[Candidate, ...]:
    """Return the routes of one model in the order in which to try them.

    Raises Forbidden, InvalidRequest, NotFound.
    """
    entry = named.entry
    key_rules.check_model(caller, entry.slug)
    _check_ability(entry, request.endpoint)
    allowed = _allowed(entry, caller)
    able = _able(allowed, entry, request)
    wishes = Preferences.of(
        request.routing.get("provider", {}),
        sort=named.sort,
        fields=frozenset(request.fields),
        unknown=frozenset(request.unknown),
        impossible=entry.impossible,
    )
    wished, excluded_by = preferences.admitted(able, wishes)
    if not wished:
        by_policy = [DATA_POLICY] if len(allowed) < len(entry.candidates) else []
        raise NotFound(
            f"No provider of {entry.slug} fits this request's `provider` wishes. Loosen them.",
            code="no_route",
            param="provider",
            metadata={"excluded_by": by_policy + excluded_by},
        )
    health = functools.partial(route_health.of, path=request.endpoint.path)
    return preferences.ordered(wished, wishes, health, time.monotonic(), session)


def _check_ability(entry: ModelEntry, endpoint: Endpoint) -> None:
    """Raise InvalidRequest if the model doesn't do what the endpoint is for."""
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


def _allowed(entry: ModelEntry[Candidate], caller: Caller) -> tuple[Candidate, ...]:
    """Return the routes that the caller's data policy allows. Raises NotFound without any."""
    allowed = entry.usable_by(caller)
    if not allowed:
        raise NotFound(
            f"No provider of {entry.slug} states how long it keeps data, and this account uses "
            "only those that do. Allow others in the privacy settings, or choose another model.",
            code="no_route",
            param="model",
            metadata={"excluded_by": [DATA_POLICY]},
        )
    return allowed


def _able(
    routes: tuple[Candidate, ...], entry: ModelEntry, request: ProviderRequest
) -> tuple[Candidate, ...]:
    """Return the routes whose provider has the endpoint, and gives several answers if asked to.

    Raises NotFound without any.
    """
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
