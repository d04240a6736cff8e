"""The public objects that need no key: prices, credit packages, tiers and providers."""

import dataclasses
import datetime as dt
import uuid
from collections.abc import Iterable

from django.conf import settings

from billing.packages import PACKAGES_USD
from billing.pricing import Price, usd
from billing.tiers import TIERS, Tier
from gateway.catalogue.entries import ModelEntry, PublicRoute
from gateway.models import Provider

# The limits that an unlimited account doesn't have.
RATES = (
    "requests_per_minute",
    "requests_per_minute_per_model",
    "tokens_per_minute",
    "tokens_per_request",
    "concurrent_requests",
)


def price_list(models: Iterable[ModelEntry]) -> dict:
    """Return the prices of all usable models and the credit packages."""
    return {
        "currency": "USD",
        "unit": "tokens are priced per million; requests and images by the piece",
        "models": [_model(one) for one in sorted(models, key=lambda one: one.slug)],
        "credits": {
            "packages_usd": list(PACKAGES_USD),
            "expire": False,
            "signup_credit_usd": usd(settings.SIGNUP_CREDIT_NANO),
        },
    }


def _model(model: ModelEntry) -> dict:
    providers = [_offer(candidate) for candidate in model.candidates]
    return {
        "id": model.slug,
        "name": model.name,
        "cheapest": providers[0],
        "providers": providers,
    }


def _offer(candidate: PublicRoute) -> dict:
    return {
        "provider": candidate.provider,
        "price_version": str(uuid.UUID(candidate.price_version_id)),
        "verified": candidate.price_verified,
        "usd": _amounts(candidate.price, usd),
        "nano_usd": _amounts(candidate.price, int),
    }


def _amounts(price: Price, shown) -> dict:
    return {name: shown(amount) for name, amount in dataclasses.asdict(price).items()}


def tier_list() -> dict:
    return {"tiers": [tier_object(number) for number in range(len(TIERS))]}


def tier_object(number: int) -> dict:
    tier: Tier = TIERS[number]
    return {
        "tier": number,
        "name": f"T{number}",
        "lifetime_purchases_usd": tier.purchases_usd,
        "requests_per_minute": tier.requests,
        "requests_per_minute_per_model": tier.model_requests,
        "tokens_per_minute": tier.tokens,
        "tokens_per_request": tier.tokens_per_request,
        "concurrent_requests": tier.max_open_holds,
    }


def read_providers() -> dict:
    """Return the enabled providers and their data retention (P7), without address or key."""
    today = dt.datetime.now(dt.UTC).date()
    rows = Provider.objects.filter(enabled=True).order_by("slug")
    return {"data": [_provider(row, today) for row in rows]}


def _provider(row: Provider, today: dt.date) -> dict:
    date = row.retention_evidence_date
    return {
        "slug": row.slug,
        "name": row.name,
        "privacy_policy_url": row.privacy_policy_url or None,
        "retention": row.effective_retention,
        "retention_evidence_url": row.retention_evidence_url or None,
        "retention_evidence_date": date.isoformat() if date else None,
        "states_retention": row.states_retention(today),
        "needed_choice": row.needed_choice(today),
        "self_hosted": row.self_hosted,
    }
