"""The views of an account's limits and credit, and the public tiers, prices and providers.

The public answers need no key and leave no row in the request log. Each process builds them at
most once per CACHE_TTL_S.
"""

import uuid

import orjson
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpResponse

from billing.ledger import gained_and_used
from billing.tiers import TIERS
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.catalogue.entries import catalogue
from gateway.database import read_in_thread
from gateway.errors import Unavailable
from gateway.serving.exchange import GatewayRequest
from gateway.short_cache import ShortCache
from gateway.v1 import price_objects
from gateway.v1.guards import allow, logged
from gateway.v1.openapi import document
from gateway.wire.reply import json_response, usd_number

TIERS_MAX_AGE_S = 300
PRICES_MAX_AGE_S = 60
DOCUMENT_MAX_AGE_S = 3600


@allow("GET", "HEAD")
@logged("limits", rule=key_rules.take_any)
async def limits(request: GatewayRequest, caller: Caller) -> HttpResponse:
    """Return the account's limits per minute and at once. A missing limit is null."""
    tier = price_objects.tier_object(caller.tier)
    if caller.unlimited:
        tier |= dict.fromkeys(price_objects.RATES)
    rates = [tier["requests_per_minute"], caller.requests_per_minute]
    key_rate = min((rate for rate in rates if rate is not None), default=None)
    return json_response(
        {
            "data": {
                **tier,
                "unlimited": caller.unlimited,
                "next_tier": caller.tier + 1 if caller.tier + 1 < len(TIERS) else None,
                "key": {
                    "requests_per_minute": caller.requests_per_minute,
                    "effective_requests_per_minute": key_rate,
                },
            }
        }
    )


@allow("GET", "HEAD")
@logged("credits", rule=key_rules.take_any)
async def credits(request: GatewayRequest, caller: Caller) -> HttpResponse:
    """Return all credit gained and used, in OpenRouter's format."""
    account_id = uuid.UUID(caller.account_id)
    gained_nano, used_nano = await read_in_thread(gained_and_used, account_id)
    return json_response(
        {"data": {"total_credits": usd_number(gained_nano), "total_usage": usd_number(used_nano)}}
    )


# --- Public --------------------------------------------------------------------------------------


@allow("GET", "HEAD")
async def tiers(request: GatewayRequest) -> HttpResponse:
    return await _public("tiers", TIERS_MAX_AGE_S)


@allow("GET", "HEAD")
async def pricing(request: GatewayRequest) -> HttpResponse:
    return await _public("pricing", PRICES_MAX_AGE_S)


@allow("GET", "HEAD")
async def providers(request: GatewayRequest) -> HttpResponse:
    return await _public("providers", PRICES_MAX_AGE_S)


@allow("GET", "HEAD")
async def openapi_document(request: GatewayRequest) -> HttpResponse:
    headers = {"Cache-Control": f"public, max-age={DOCUMENT_MAX_AGE_S}"}
    return HttpResponse(document.as_bytes(), content_type="application/json", headers=headers)


async def _public(name: str, max_age_s: int) -> HttpResponse:
    try:
        content = await _pages.get(name)
    except DatabaseError as error:
        raise Unavailable("Kyma can't read its catalogue right now. Try again shortly.") from error
    headers = {"Cache-Control": f"public, max-age={max_age_s}"}
    return HttpResponse(content, content_type="application/json", headers=headers)


async def _put_together(name: str) -> bytes:
    if name == "tiers":
        return orjson.dumps(price_objects.tier_list())
    if name == "providers":
        return orjson.dumps(await read_in_thread(price_objects.read_providers))
    return orjson.dumps(price_objects.price_list((await catalogue()).values()))


_pages = ShortCache(_put_together, settings.CACHE_TTL_S)
