"""The models that a person's data policy admits, and some of their prices."""

import dataclasses

from django.http import HttpRequest

from gateway.catalogue import aliases, entries
from gateway.catalogue.entries import ModelEntry

TEASED = 6


@dataclasses.dataclass(frozen=True)
class Offer:
    """The cheapest route to a model; prices are nano-dollars per million tokens."""

    slug: str
    name: str
    maker: str
    context_length: int
    input_nano: int
    output_nano: int
    is_verified: bool


def models_for(request: HttpRequest) -> dict[str, ModelEntry]:
    """Return the models that the visitor can use; a stranger sees those of a new account."""
    return entries.offered(getattr(request.user, "provider_choice", ""))


def teaser(models: dict[str, ModelEntry]) -> list[Offer]:
    """Return a few of the models, first those that an alias stands for."""
    meant = (aliases.model_of(alias, models.__contains__) for alias in aliases.ALIASES)
    others = sorted(slug for slug, entry in models.items() if entry.writes)
    slugs = [slug for slug in dict.fromkeys((*meant, *others)) if slug]
    return [_offer(models[slug]) for slug in slugs[:TEASED]]


def meanings(models: dict[str, ModelEntry]) -> list[tuple[str, str | None]]:
    """Return each alias with the model that it means now."""
    return [(alias, aliases.model_of(alias, models.__contains__)) for alias in aliases.ALIASES]


def _offer(entry: ModelEntry) -> Offer:
    cheapest = entry.candidates[0]
    return Offer(
        slug=entry.slug,
        name=entry.name,
        maker=entry.maker,
        context_length=cheapest.context_length,
        input_nano=cheapest.price.input,
        output_nano=cheapest.price.output,
        is_verified=cheapest.price_verified,
    )
