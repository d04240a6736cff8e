"""Two routes to a model: what moves a request on to the second, and who is paid."""

import uuid

import pytest

from gateway.models import Provider, Route
from gateway.route_health import LEAST_ATTEMPTS
from tests.factories import make_price, make_provider, make_route
from tests.gateway.conftest import live_route
from tests.gateway.receipts import (
    HELLO,
    LEAK,
    OVERLOADED,
    PRICE,
    TEXT,
    UNAVAILABLE,
    USAGE,
    billed,
    both,
    broken_off,
    events_of,
    free,
    read_until,
    refused,
)
from tests.live import Customer
from tests.provider_scripts import (
    Bytes,
    Close,
    End,
    Head,
    Reset,
    Silence,
    WaitFor,
    answer,
    either,
    error,
    json_answer,
    stream,
)

GOOD = either(stream(TEXT, usage=USAGE), answer(TEXT, extra={"usage": USAGE}))


@pytest.fixture
def twofold(gateway, fake) -> Route:
    """The second and dearer one of two routes to a model, new so that no breaker is open."""
    slug = f"twofold-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.base_url)
    provider = Provider.objects.filter(slug="dearer").first() or make_provider(
        "dearer", base_url=fake.base_url, self_hosted=True, stops_billing_on_cancel=True
    )
    price = make_price(input_nano=200_000_000, output_nano=800_000_000)
    return make_route(slug, provider=provider, price=price)


JSON = Head(200, {"content-type": "application/json"})
PASSING = {
    "reset": [Reset()],
    "silent": [Silence()],
    "500": error(500),
    "401": error(401),
    "429": error(429),
    "HTML": [Head(200, {"content-type": "text/html"}), Bytes(b"<html>"), End()],
    "error inside": json_answer({"error": {"message": LEAK}}),
    "broken body": either([Head(), Bytes(b"data: {\n\n")], [JSON, Bytes(b"{"), End()]),
    "no answer": either([Head(), End()], json_answer({"choices": []})),
    "half a body": either([Head(), Close()], [JSON, Bytes(b"{"), Close()]),
}


@both
@pytest.mark.parametrize("first", PASSING.values(), ids=PASSING)
def test_another_provider_answers(gateway, fake, twofold, streamed, first):
    customer = Customer(gateway)
    prompt = fake.script_attempts([first, GOOD])
    response = customer.ask(prompt, model=twofold.model.slug, stream=streamed)
    assert response.headers["x-kyma-attempts"] == "2"
    assert response.headers["x-kyma-provider"] == "dearer"
    assert "Oslo" in response.text
    row = billed(customer, 2 * PRICE, outcome="finished", route=twofold, provider="dearer")
    assert row.price_version == twofold.price_version
    assert [one["provider"] for one in row.attempts] == [twofold.model.slug, "dearer"]
    assert row.attempts[0]["error"]
    assert (row.attempts[1]["status"], row.attempts[1].get("error")) == (200, None)


@both
def test_no_other_provider_is_asked_what_one_has_declined(gateway, fake, twofold, streamed):
    customer = Customer(gateway)
    prompt = fake.script_attempts([error(400, "Bad schema."), GOOD])
    refused(customer.ask(prompt, model=twofold.model.slug, stream=streamed), 400, "invalid_request")
    free(customer, 400, "invalid_request", "declined")
    assert fake.count(prompt) == 1


def test_no_other_provider_is_asked_once_an_answer_has_begun(gateway, fake, twofold):
    customer = Customer(gateway)
    prompt = fake.script_attempts([[Head(), HELLO, WaitFor("the break"), Reset()], GOOD])
    events = events_of(customer.ask(prompt, model=twofold.model.slug, stream=True))
    read_until(events, "Hello ")
    fake.go(prompt, "the break")
    broken_off(events, *UNAVAILABLE)
    billed(customer, 0, outcome="upstream-failed")
    assert fake.count(prompt) == 1


@pytest.mark.parametrize(
    ("attempts", "told"),
    [
        ([error(429), error(500)], (429, "rate_limit_exceeded")),
        ([error(500), error(429)], (429, "rate_limit_exceeded")),
        ([error(500), error(503)], OVERLOADED),
        ([error(429), error(400)], (400, "invalid_request")),
    ],
)
def test_of_several_failures_the_most_telling_is_told(gateway, fake, twofold, attempts, told):
    customer = Customer(gateway)
    prompt = fake.script_attempts(attempts)
    refused(customer.ask(prompt, model=twofold.model.slug), *told)
    billed(customer, 0, outcome="upstream-failed", status=told[0])
    assert fake.count(prompt) == 2


def test_a_route_that_keeps_failing_is_tried_last(gateway, fake, twofold):
    slug = twofold.model.slug
    customer = Customer(gateway)
    for _ in range(LEAST_ATTEMPTS):
        failing = fake.script_attempts([error(500), GOOD])
        assert customer.ask(failing, model=slug).headers["x-kyma-attempts"] == "2"
    response = customer.ask(fake.script(GOOD), model=slug)
    assert response.headers["x-kyma-attempts"] == "1"
    assert response.headers["x-kyma-provider"] == "dearer"


def test_a_request_may_name_its_providers(gateway, fake, twofold):
    slug = twofold.model.slug
    customer = Customer(gateway)
    wishes = {"order": ["dearer"], "allow_fallbacks": False}
    response = customer.ask(fake.script(GOOD), model=slug, provider=wishes)
    assert response.headers["x-kyma-provider"] == "dearer"
    response = customer.ask("hello", model=slug, provider={"only": ["nobody"]})
    told = refused(response, 404, "not_found")
    assert told["code"] == "no_route"
    assert told["metadata"]["excluded_by"] == ["provider.only"]


def test_a_suffix_is_no_part_of_the_model(gateway, fake, twofold):
    response = Customer(gateway).ask(fake.script(GOOD), model=f"{twofold.model.slug}:floor")
    assert response.headers["x-kyma-provider"] == twofold.model.slug
