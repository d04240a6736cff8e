"""The loading of the catalogue files into providers, models, routes and prices.

The files win over the database, with these exceptions, so that an operator's decisions in the
admin survive the next load:
- `enabled` is set when a row is made, and when a provider gets its first key or base URL.
  Afterwards only the operator changes it.
- A provider's statement about retention, with its evidence, stays if its date is newer.
- A key or base URL stays when its variable is no longer set.
- Rows that no file names stay as they are, and so does a discovered route once it is made.
Loading deletes nothing and changes no price: a new price is a new PriceVersion.

Loading is safe to repeat, even in two processes at once: all writes are one transaction, which
first locks the providers' rows. All network requests come before the transaction.
"""

import dataclasses
from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from accounts.errors import SealBroken
from accounts.models import ProviderChoice
from billing.models import PriceVersion
from gateway.catalogue.discovery import FoundModel, ServerSilent, models_of, normal_base_url
from gateway.catalogue.files import (
    MODEL_FIELDS,
    PRICE_FIELDS,
    PROVIDER_FIELDS,
    ROUTE_FIELDS,
    SLUG,
    STATEMENT_FIELDS,
    CatalogError,
    Catalogue,
    Listing,
    Offer,
    Preset,
)
from gateway.models import Model, Provider, Route
from gateway.models.evidence import due

_MAX_UPSTREAM_MODEL_LENGTH = 160


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The state of the catalogue after a load. Providers are named by their slugs."""

    models: int
    routes: int
    new_prices: int
    routable: list[str]
    withheld: list[str]
    warnings: list[str]


def load(catalogue: Catalogue, *, environment: Mapping[str, str]) -> Outcome:
    """Bring the database in line with `catalogue`. Raises CatalogError."""
    given = {preset.slug: _given(preset, environment) for preset in catalogue.presets}
    found, warnings = _discover(catalogue.presets, given)
    with transaction.atomic():
        providers = _save_providers(catalogue.presets, given)
        prices_before = PriceVersion.objects.count()
        _save_listings(catalogue.listings, providers)
        for slug, models in found.items():
            warnings += _save_found(models, providers[slug])
        return _outcome(PriceVersion.objects.count() - prices_before, warnings)


def _given(preset: Preset, environment: Mapping[str, str]) -> str:
    """Return the key or base URL that the environment holds for `preset`, or ""."""
    text = environment.get(preset.env, "").strip()
    if not text or not preset.lists_its_models:
        return text
    try:
        return normal_base_url(text)
    except ValueError as error:
        raise CatalogError(f"{preset.env}: {error}") from error


# --- Providers -----------------------------------------------------------------------------------


def _save_providers(presets: tuple[Preset, ...], given: dict[str, str]) -> dict[str, Provider]:
    """Save the providers and return them by slug, locked until the transaction ends."""
    drafts = sorted((preset.provider for preset in presets), key=lambda row: row.slug)
    # When two processes load at once, the second one waits here until the first has committed.
    Provider.objects.bulk_create(drafts, ignore_conflicts=True)
    locked = Provider.objects.select_for_update().order_by("slug")
    providers = {row.slug: row for row in locked}
    for preset in presets:
        _save_provider(providers[preset.slug], preset, given[preset.slug])
    return providers


def _save_provider(row: Provider, preset: Preset, given: str) -> None:
    before = dict(vars(row))
    _copy(preset.provider, row, (*_fields_to_take(row, preset.provider), "self_hosted"))
    if preset.takes_key:
        row.base_url = preset.provider.base_url
    if given:
        row.enabled = row.enabled or not _is_set_up(row, preset)
        if not preset.takes_key:
            row.base_url = given
        elif _key_of(row) != given:
            row.set_api_key(given)
    if vars(row) != before:
        row.save()


def _fields_to_take(row: Provider, draft: Provider) -> list[str]:
    """Return the fields that the files set, without a statement that is older than the row's."""
    ours, theirs = row.retention_evidence_date, draft.retention_evidence_date
    is_newer = ours is not None and (theirs is None or ours > theirs)
    kept = STATEMENT_FIELDS if is_newer else ()
    return [name for name in PROVIDER_FIELDS if name not in kept]


def _is_set_up(row: Provider, preset: Preset) -> bool:
    """True when the provider has its key or base URL. From then on the operator sets `enabled`."""
    return row.api_key_sealed is not None if preset.takes_key else bool(row.base_url)


def _key_of(row: Provider) -> str | None:
    try:
        return row.api_key
    except SealBroken:  # The master key that sealed it is gone, so the key is unusable.
        return None


# --- Models, routes, prices ----------------------------------------------------------------------


def _save_listings(listings: tuple[Listing, ...], providers: dict[str, Provider]) -> None:
    models = {row.slug: row for row in Model.objects.all()}
    routes = {
        (row.model_id, row.provider_id): row
        for row in Route.objects.select_related("price_version")
    }
    for listing in listings:
        model = models.get(listing.model.slug) or Model(slug=listing.model.slug)
        if _copy(listing.model, model, MODEL_FIELDS) or model._state.adding:
            model.save()
        for offer in listing.offers:
            provider = providers[offer.provider]
            route = routes.get((model.id, provider.id)) or Route(model=model, provider=provider)
            _save_offer(offer, route)


def _save_offer(offer: Offer, route: Route) -> None:
    changed = _copy(offer.route, route, ROUTE_FIELDS)
    price = _price_version(route, offer.price)
    if changed or price.id != route.price_version_id:
        route.price_version = price
        route.save()


def _price_version(route: Route, price: PriceVersion) -> PriceVersion:
    """Return the route's price version, or a new one if `price` differs, even in its source."""
    if route.price_version_id:
        current = route.price_version
        if all(getattr(current, name) == getattr(price, name) for name in PRICE_FIELDS):
            return current
    return PriceVersion.objects.create(**{name: getattr(price, name) for name in PRICE_FIELDS})


def _copy(source, row, fields: tuple[str, ...]) -> bool:
    """Copy `fields` from `source` to `row`. Return True if a field changed."""
    changed = [name for name in fields if getattr(row, name) != getattr(source, name)]
    for name in changed:
        setattr(row, name, getattr(source, name))
    return bool(changed)


# --- Servers that list their models --------------------------------------------------------------


def _discover(
    presets: tuple[Preset, ...], given: dict[str, str]
) -> tuple[dict[str, list[FoundModel]], list[str]]:
    """Return the models of each enabled server by provider, and a warning for each silent one."""
    rows = {row.slug: row for row in Provider.objects.all()}
    found, warnings = {}, []
    for preset in presets:
        row = rows.get(preset.slug, preset.provider)
        base_url = given[preset.slug] or row.base_url
        is_off = not row.enabled and _is_set_up(row, preset)
        if not preset.lists_its_models or not base_url or is_off:
            continue
        try:
            found[preset.slug] = models_of(base_url, _key_of(row))
        except ServerSilent as error:
            address = base_url.rpartition("@")[2]  # The URL may contain a password.
            warnings.append(f"{preset.slug} at {address} {error}: its models are not updated")
    return found, warnings


def _save_found(models: list[FoundModel], provider: Provider) -> list[str]:
    """Make a free route to each model of `provider` that has no route through it yet."""
    existing = {row.model.slug: row for row in provider.routes.select_related("model")}
    warnings = []
    for found in models:
        route = existing.get(found.slug)
        if route is None and _fits(found):
            existing[found.slug] = _make_found_route(found, provider)
        elif route is None or route.upstream_model != found.upstream_model:
            warnings.append(f"{provider.slug}: a model is left out: its id is unusable or taken")
    return warnings


def _fits(found: FoundModel) -> bool:
    name = found.upstream_model
    return bool(
        SLUG.fullmatch(found.slug)
        and len(name) <= _MAX_UPSTREAM_MODEL_LENGTH
        and name.isprintable()
    )


def _make_found_route(found: FoundModel, provider: Provider) -> Route:
    model, _ = Model.objects.get_or_create(
        slug=found.slug,
        defaults={
            "name": found.upstream_model[:128],
            "maker": "self-hosted",
            "description": f"Served by {provider.name} on the operator's own machine.",
            "context_length": found.context_length,
        },
    )
    price = PriceVersion.objects.create(
        input_nano=0,
        cached_input_nano=0,
        output_nano=0,
        source="self-hosted",
        source_date=timezone.now().date(),
        verified=True,
    )
    differs = model.context_length != found.context_length
    return Route.objects.create(
        model=model,
        provider=provider,
        upstream_model=found.upstream_model,
        price_version=price,
        context_length=found.context_length if differs else None,
    )


# --- The outcome ---------------------------------------------------------------------------------


def _outcome(new_prices: int, warnings: list[str]) -> Outcome:
    today = timezone.now().date()
    usable = Provider.objects.filter(
        enabled=True, routes__enabled=True, routes__model__enabled=True
    )
    routable = usable.distinct().order_by("slug")
    return Outcome(
        models=Model.objects.count(),
        routes=Route.objects.count(),
        new_prices=new_prices,
        routable=[row.slug for row in routable],
        withheld=[row.slug for row in routable if row.needed_choice(today) != ProviderChoice.NONE],
        warnings=[*warnings, *(f"{one.provider.slug}: evidence is {one}" for one in due(today))],
    )
