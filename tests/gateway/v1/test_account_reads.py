"""What an account may do and has spent; and what everyone may read: tiers, prices, providers."""

import datetime as dt
import json
from decimal import Decimal

import pytest
import requests
from django.conf import settings

from accounts.models import ApiKey
from billing import ledger
from billing.models import LedgerEntry
from billing.pricing import nano
from billing.tiers import TIERS
from gateway.models import Provider, Route
from tests.gateway.conftest import live_route
from tests.support.factories import make_price
from tests.support.gateway.http_client import send, wait_for_log
from tests.support.live import USD, Customer, eventually
from tests.support.provider.scripts import answer

PUBLIC = {"/v1/limits/tiers": 300, "/v1/credits/pricing": 60, "/v1/providers": 60}


def exactly(response) -> dict:
    """The JSON of a response, its numbers as they were written."""
    return json.loads(response.text, parse_float=Decimal)


def public(gateway, path: str) -> dict:
    return requests.get(gateway.url + path, timeout=10).json()


# Limits


@pytest.mark.parametrize("tier", range(len(TIERS)))
def test_an_account_reads_the_limits_of_its_tier(gateway, tier):
    customer = Customer(gateway, tier=tier)
    ApiKey.objects.filter(pk=customer.key.pk).update(requests_per_minute=45)
    data = customer.get("/v1/auth/limits").json()["data"]
    listed = public(gateway, "/v1/limits/tiers")["tiers"][tier]
    assert listed.items() <= data.items()
    assert data["tier"] == tier
    assert data["concurrent_requests"] == TIERS[tier].max_open_holds
    assert data["next_tier"] == (tier + 1 if tier < 4 else None)
    assert data["key"] == {
        "requests_per_minute": 45,
        "effective_requests_per_minute": min(45, TIERS[tier].requests),
    }


def test_an_unlimited_account_is_told_of_none(gateway):
    data = Customer(gateway, unlimited=True).get("/v1/auth/limits").json()["data"]
    assert data["unlimited"] is True
    for name in ("requests_per_minute", "tokens_per_minute", "concurrent_requests"):
        assert data[name] is None
    assert data["key"]["effective_requests_per_minute"] is None


def test_credits_are_what_came_in_and_what_was_used(customer, fake):
    ledger.credit(
        customer.account.id,
        kind=LedgerEntry.Kind.SIGNUP,
        amount_nano=500_000_001,
        idempotency_key=f"signup:{customer.user.id}",
    )
    customer.ask(fake.script(answer("Hello.")))
    used_nano = customer.settled_request().cost_nano
    data = exactly(customer.get("/v1/credits"))["data"]
    assert data["total_credits"] * USD == USD + 500_000_001
    assert data["total_usage"] * USD == used_nano > 0
    assert (data["total_credits"] - data["total_usage"]) * USD == customer.balance_nano()


# What is public


@pytest.mark.parametrize("path", PUBLIC)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_everyone_may_read_and_keep_it_for_a_while(gateway, path, method):
    response = send(gateway, method, path)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == f"public, max-age={PUBLIC[path]}"
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public_leaves_no_row_and_asks_no_key(customer, path):
    for headers in (customer.headers, {"Authorization": "Bearer nonsense"}):
        assert send(customer.gateway, "GET", path, headers=headers).status_code == 200
    wait_for_log(customer.gateway)
    assert customer.requests() == []


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public_is_only_read(gateway, path):
    response = send(gateway, "POST", path, json={})
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")


def test_the_tiers_are_those_of_the_rules(gateway):
    tiers = public(gateway, "/v1/limits/tiers")["tiers"]
    assert [tier["lifetime_purchases_usd"] for tier in tiers] == [0, 5, 50, 250, 1000]
    assert [tier["requests_per_minute"] for tier in tiers] == [30, 60, 120, 200, 300]
    assert [tier["concurrent_requests"] for tier in tiers] == [8, 16, 32, 64, 128]


def test_every_route_has_its_price_the_cheapest_first(gateway, fake):
    cheap = live_route("priced", fake.base_url)
    cheap.price_version = make_price(
        input_nano=1, cached_input_nano=0, output_nano=70_000_000, image_nano=5, verified=True
    )
    cheap.save(update_fields=["price_version"])
    dear = Route.objects.create(
        model=cheap.model,
        provider=live_route("dearer", fake.base_url).provider,
        upstream_model="up",
        price_version=make_price(),
    )

    def read() -> list[dict]:
        models = public(gateway, "/v1/credits/pricing")["models"]
        return [model for model in models if model["id"] == "priced"]

    (model,) = eventually(read, lambda found: found and len(found[0]["providers"]) == 2)
    assert model["cheapest"] == model["providers"][0]
    assert model["cheapest"] == {
        "provider": "priced",
        "price_version": str(cheap.price_version.id),
        "verified": True,
        "usd": {
            "input": "0.000000001",
            "cached_input": "0.0",
            "output": "0.07",
            "request": "0.0",
            "image": "0.000000005",
        },
        "nano_usd": {
            "input": 1,
            "cached_input": 0,
            "output": 70_000_000,
            "request": 0,
            "image": 5,
        },
    }
    assert model["providers"][1]["price_version"] == str(dear.price_version.id)
    assert model["providers"][1]["verified"] is False
    for offer in model["providers"]:
        assert {name: nano(text) for name, text in offer["usd"].items()} == offer["nano_usd"]


def test_a_model_that_can_not_be_used_has_no_price(gateway, fake):
    route = live_route("unpriced", fake.base_url)

    def priced() -> bool:
        models = public(gateway, "/v1/credits/pricing")["models"]
        return "unpriced" in {model["id"] for model in models}

    eventually(priced)
    Route.objects.filter(pk=route.pk).update(enabled=False)
    eventually(lambda: not priced())
    Route.objects.filter(pk=route.pk).update(enabled=True)


def test_the_packages_of_credit_and_the_gift_are_told(gateway):
    assert public(gateway, "/v1/credits/pricing")["credits"] == {
        "packages_usd": [5, 20, 100, 500],
        "expire": False,
        "signup_credit_usd": str(Decimal(settings.SIGNUP_CREDIT_NANO) / USD),
    }


def test_providers_say_what_they_keep_and_never_how_they_are_reached(gateway):
    today = dt.datetime.now(dt.UTC).date()
    provider, _ = Provider.objects.update_or_create(
        slug="evidenced",
        defaults={
            "name": "Stated",
            "base_url": "http://secret-host.example/v1",
            "privacy_policy_url": "https://stated.example/privacy",
            "retention": Provider.Retention.ABUSE_30D,
            "retention_evidence_url": "https://stated.example/data",
            "retention_evidence_date": today,
        },
    )
    provider.set_api_key("sk-of-the-operator")
    provider.save()

    def read() -> dict:
        return {one["slug"]: one for one in public(gateway, "/v1/providers")["data"]}

    assert eventually(read, lambda found: "evidenced" in found)["evidenced"] == {
        "slug": "evidenced",
        "name": "Stated",
        "privacy_policy_url": "https://stated.example/privacy",
        "retention": "abuse_30d",
        "retention_evidence_url": "https://stated.example/data",
        "retention_evidence_date": today.isoformat(),
        "states_retention": True,
        "needed_choice": "abuse_30d",
        "self_hosted": False,
    }
    assert read()["scripted"]["retention"] == "none"
    text = requests.get(f"{gateway.url}/v1/providers", timeout=10).text
    assert "secret-host" not in text
    assert "sk-of" not in text

    Provider.objects.filter(pk=provider.pk).update(enabled=False)
    eventually(lambda: "evidenced" not in read())
