"""Resolves a request: finds the routes that may answer it, and their order.

The key, the account's data policy, the endpoint and the request itself exclude routes of the
catalogue; `preferences` orders the rest. A request keeps the routes that it was resolved to, so a
price that changes meanwhile never re-prices it.
"""

import dataclasses
import functools
import time

from accounts.models import ProviderChoice
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.access.consent import Standing, allows
from gateway.catalogue import aliases, claude_code
from gateway.catalogue.entries import Candidate, ModelEntry, catalogue
from gateway.catalogue.strictness import REMOTE_IMAGES
from gateway.dialects.request import EMBEDDINGS, Endpoint, ProviderRequest
from gateway.errors import GatewayError, InvalidRequest, ModelNotFound, NotFound
from gateway.routing import health as route_health
from gateway.routing import preferences
from gateway.routing.preferences import Preferences

MAX_NAMED = 80  # Characters of an unknown model's name that its error repeats.
DATA_POLICY = "data_policy:retention"
WHERE_TO_CHOOSE = "Choose in the privacy settings, at /settings/privacy."
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
        raise _not_found(request.models[0], models, caller)
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


def _not_found(name: str, models: dict[str, ModelEntry], caller: Caller) -> ModelNotFound:
    alias, _ = preferences.split_suffix(claude_code.own_name(name))
    where = "GET /v1/models lists those that can be used."
    if alias in aliases.ALIASES:
        problem = f"None of the models that {alias} stands for can be used now."
        where = f"{where} {_advice_on_alias(alias, models, caller)}".rstrip()
    else:
        problem = f'There is no model "{name[:MAX_NAMED]}".'
    return ModelNotFound(f"{problem} {where}", param="model")


def _advice_on_alias(alias: str, models: dict[str, ModelEntry], caller: Caller) -> str:
    """Return what a wider choice of providers would add to an alias without a usable model."""
    for choice in ProviderChoice.values:
        widened = dataclasses.replace(caller, provider_choice=choice)
        if meant := alias_target(alias, models, widened):
            return advice(models[meant], caller)
    return ""


# --- from a model to its routes


@dataclasses.dataclass(frozen=True, slots=True)
class _Lack:
    """The reason why none of some routes can serve a request."""

    problem: str
    param: str
    excluded_by: tuple[str, ...]


def _routes(
    named: _Named, request: ProviderRequest, caller: Caller, session: str
) -> tuple[Candidate, ...]:
    """Return the routes of one model in the order in which to try them.

    Raises Forbidden, InvalidRequest, NotFound.
    """
    entry = named.entry
    key_rules.check_model(caller, entry.slug)
    _check_ability(entry, request.endpoint)
    wishes = Preferences.of(
        request.routing.get("provider", {}),
        sort=named.sort,
        fields=frozenset(request.fields),
        unknown=frozenset(request.unknown),
        impossible=entry.impossible,
    )
    fitting, lack = _fitting(entry.usable_by(caller), entry, request, wishes)
    if lack:
        raise _no_route(lack, entry, request, wishes, caller)
    health = functools.partial(route_health.of, path=request.endpoint.path)
    return preferences.ordered(fitting, wishes, health, time.monotonic(), session)


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


def _fitting(
    routes: tuple[Candidate, ...], entry: ModelEntry, request: ProviderRequest, wishes: Preferences
) -> tuple[tuple[Candidate, ...], _Lack | None]:
    """Return the routes that can serve the request as it wishes; without any, also the reason."""
    if not routes:
        return (), _Lack(f"This account allows no provider of {entry.slug}.", "model", ())
    for mark, reason, deed in _needs(request):
        routes = tuple(one for one in routes if mark not in one.unsupported)
        if not routes:
            problem = f"No provider of {entry.slug} {deed}, or ask otherwise."
            return (), _Lack(problem, "model", (reason,))
    wished, excluded_by = preferences.admitted(routes, wishes)
    if wished:
        return wished, None
    problem = f"No provider of {entry.slug} fits this request's `provider` wishes. Loosen them."
    return (), _Lack(problem, "provider", tuple(excluded_by))


def _needs(request: ProviderRequest) -> list[tuple[str, str, str]]:
    """Return the abilities that a route must have: its lack of one, the reason, the words."""
    path = request.endpoint.path
    needs = [(path, f"endpoint:{path}", f"serves POST /v1{path}. Choose another model")]
    if request.n > 1:
        deed = "gives several answers to one request (`n`). Choose another model"
        needs.append(("n", "parameter:n", deed))
    if request.images and request.has_remote_images:
        deed = "fetches pictures from web addresses. Send each as data:image/…;base64,…"
        needs.append((REMOTE_IMAGES, REMOTE_IMAGES, deed))
    return needs


def _no_route(
    lack: _Lack,
    entry: ModelEntry[Candidate],
    request: ProviderRequest,
    wishes: Preferences,
    caller: Caller,
) -> NotFound:
    """Return the refusal. It says what a wider choice of providers would add (P7)."""
    choice = caller.provider_choice
    withheld = tuple(one for one in entry.candidates if not allows(choice, one.needed_choice))
    fitting, _ = _fitting(withheld, entry, request, wishes)
    standing = Standing.of(choice, (one.needed_choice for one in fitting))
    return NotFound(
        f"{lack.problem} {_advice(standing)}".rstrip(),
        code="no_route",
        param=lack.param,
        metadata={
            "excluded_by": [*([DATA_POLICY] if withheld else []), *lack.excluded_by],
            "with_consent": {one.choice.value: one.providers for one in standing.additions},
        },
    )


def advice(entry: ModelEntry, caller: Caller) -> str:
    """Return what a wider choice of providers would add to a model; "" if it adds nothing."""
    if not key_rules.allows_model(caller, entry.slug):
        return ""
    needs = (one.needed_choice for one in entry.candidates)
    return _advice(Standing.of(caller.provider_choice, needs))


def _advice(standing: Standing) -> str:
    return f"{standing.hint} {WHERE_TO_CHOOSE}" if standing.additions else ""
