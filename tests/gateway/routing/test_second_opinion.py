"""What a provider declines may be its own fault: one other provider is asked, and no third.

On purpose this asks more than once about a request that may be bad: see docs/decisions.md.
"""

import uuid

import pytest

from gateway.models import Provider, Route
from gateway.routing import health as route_health
from tests.gateway.conftest import live_route, two_routes
from tests.support.factories import make_price, make_route
from tests.support.gateway.receipts import GOOD, both, free, refused
from tests.support.live import Customer
from tests.support.provider.scripts import error, json_answer

UNKNOWN_FIELD = error(400, "property 'reasoning' is unsupported")
# What Groq says when a request needs more than its account may use in a minute.
TOO_MANY_TOKENS = json_answer(
    {
        "error": {
            "message": "Request too large for model `x` in organization `org_01xyz` service tier "
            "`on_demand` on tokens per minute (TPM): Limit 6000, Requested 9000",
            "type": "tokens",
            "code": "rate_limit_exceeded",
        }
    },
    status=413,
)


@pytest.fixture
def twofold(gateway, fake) -> Route:
    """The second and dearer one of two routes to a model."""
    return two_routes(fake.base_url, fake.base_url)


@pytest.fixture
def threefold(twofold, fake) -> Route:
    """The third and dearest one."""
    provider, _ = Provider.objects.update_or_create(
        slug="dearest",
        defaults={"name": "Dearest", "base_url": fake.base_url, "self_hosted": True},
    )
    price = make_price(input_nano=300_000_000, output_nano=900_000_000)
    return make_route(twofold.model.slug, provider=provider, price=price)


@both
@pytest.mark.parametrize(
    "declined",
    [
        UNKNOWN_FIELD,
        error(400, "Failed to call a function.", "tool_use_failed"),
        error(400, "Model is loading"),
        error(422, "Extra inputs are not permitted"),
        error(413, "Request entity too large"),
        TOO_MANY_TOKENS,
    ],
    ids=["field", "tool use", "loading", "422", "413", "tokens"],
)
def test_another_provider_is_asked_what_one_has_declined(
    gateway, fake, twofold, streamed, declined
):
    prompt = fake.script_attempts([declined, GOOD])
    response = Customer(gateway).ask(prompt, model=twofold.model.slug, stream=streamed)
    assert response.status_code == 200
    assert response.headers["x-kyma-provider"] == "dearer"
    assert response.headers["x-kyma-attempts"] == "2"


def test_a_third_provider_is_not_asked_and_the_first_is_told(gateway, fake, threefold):
    customer = Customer(gateway)
    prompt = fake.script_attempts([error(400, "Bad schema."), error(422, "Bad field."), GOOD])
    response = customer.ask(prompt, model=threefold.model.slug)
    told = refused(response, 400, "invalid_request")
    assert response.headers["x-kyma-attempts"] == "2"
    assert told["message"].endswith("Bad schema.")
    free(customer, 400, "invalid_request", "declined", "declined")
    assert fake.count(prompt) == 2


def test_fallbacks_are_asked_what_the_models_own_providers_declined(gateway, fake, twofold):
    other = live_route(f"other-{uuid.uuid4().hex[:8]}", fake.base_url).model.slug
    prompt = fake.script_attempts([UNKNOWN_FIELD, UNKNOWN_FIELD, GOOD])
    response = Customer(gateway).ask(prompt, model=twofold.model.slug, models=[other])
    assert response.headers["x-kyma-model"] == other
    assert fake.count(prompt) == 3


@pytest.mark.parametrize(
    ("declined", "told"),
    [
        (error(403, "No.", "content_policy_violation"), (403, "permission_denied")),
        (error(403, "No.", "moderation"), (403, "permission_denied")),
        (error(400, "No.", "content_filter"), (400, "invalid_request")),
    ],
)
def test_what_a_policy_forbids_is_asked_of_no_other(gateway, fake, twofold, declined, told):
    prompt = fake.script_attempts([declined, GOOD])
    refused(Customer(gateway).ask(prompt, model=twofold.model.slug), *told)
    assert fake.count(prompt) == 1


def test_a_route_that_declines_is_none_that_fails(gateway, fake, twofold):
    customer, slug = Customer(gateway), twofold.model.slug
    for _ in range(route_health.LEAST_ATTEMPTS + 1):
        assert customer.ask(fake.script_attempts([UNKNOWN_FIELD, GOOD]), model=slug).ok
    response = customer.ask(fake.script(GOOD), model=slug)
    assert response.headers["x-kyma-provider"] == slug


def test_tokens_that_an_account_has_used_up_are_worth_waiting_for(gateway, fake, twofold):
    customer = Customer(gateway)
    prompt = fake.script_attempts([TOO_MANY_TOKENS, TOO_MANY_TOKENS])
    response = customer.ask(prompt, model=twofold.model.slug)
    told = refused(response, 429, "rate_limit_exceeded")
    assert response.headers["x-should-retry"] == "true"
    assert response.headers["x-kyma-attempts"] == "2"
    assert "6000" not in told["message"]
    free(customer, 429, "rate_limit_exceeded", "overloaded", "overloaded")
