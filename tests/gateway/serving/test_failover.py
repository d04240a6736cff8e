"""Two routes to a model: what stays with the first, and what is told if both fail."""

import uuid

import pytest

from gateway.models import Route
from tests.gateway.conftest import live_route, two_routes
from tests.support.gateway.receipts import (
    END,
    GOOD,
    HELLO,
    OVERLOADED,
    STOP,
    UNAVAILABLE,
    billed,
    both,
    broken_off,
    events_of,
    read_until,
    refused,
)
from tests.support.live import Customer
from tests.support.provider.scripts import (
    Done,
    End,
    Event,
    Head,
    Pause,
    Reset,
    WaitFor,
    chunk,
    error,
    usage_chunk,
    usage_of,
)


@pytest.fixture
def twofold(gateway, fake) -> Route:
    """The second and dearer one of two routes to a model."""
    return two_routes(fake.base_url, fake.base_url)


TOO_LONG = error(400, "The maximum context length is 4096 tokens.", "context_length_exceeded")


@both
def test_a_prompt_that_is_too_long_for_one_provider_may_fit_the_next(
    gateway, fake, twofold, streamed
):
    narrow = Route.objects.filter(model=twofold.model).exclude(pk=twofold.pk)
    assert narrow.update(context_length=4096) == 1
    customer, slug = Customer(gateway), twofold.model.slug
    prompt = fake.script_attempts([TOO_LONG, GOOD])
    response = customer.ask(prompt, model=slug, stream=streamed)
    assert response.status_code == 200
    assert response.headers["x-kyma-provider"] == "dearer"
    narrow.update(context_length=None)
    both_narrow = fake.script_attempts([TOO_LONG, GOOD])
    told = refused(customer.ask(both_narrow, model=slug), 400, "context_length_exceeded")
    assert told["message"].startswith("The prompt is too long. The provider declined the request:")
    assert fake.count(both_narrow) == 1


def test_usage_alone_is_no_answer(gateway, fake, twofold):
    customer, role = Customer(gateway), Event(chunk({"role": "assistant"}, usage=usage_of(9, 0)))
    prompt = fake.script_attempts([[Head(), role, Done(), End()], GOOD])
    response = customer.ask(prompt, model=twofold.model.slug, stream=True)
    assert response.headers["x-kyma-provider"] == "dearer"
    assert list(events_of(response))[-1] == "[DONE]"


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


@pytest.mark.parametrize("waits", [("20", "7"), ("7", "20")])
def test_of_providers_that_are_busy_the_shortest_wait_is_told(gateway, fake, twofold, waits):
    attempts = [error(429, headers={"Retry-After": wait}) for wait in waits]
    response = Customer(gateway).ask(fake.script_attempts(attempts), model=twofold.model.slug)
    refused(response, 429, "rate_limit_exceeded")
    assert response.headers["Retry-After"] == "7"


def test_a_provider_that_asks_for_a_pause_gets_it(gateway, fake, twofold):
    customer, slug = Customer(gateway), twofold.model.slug
    busy = fake.script_attempts([error(429, headers={"Retry-After": "60"}), GOOD])
    assert customer.ask(busy, model=slug).headers["x-kyma-provider"] == "dearer"
    response = customer.ask(fake.script(GOOD), model=slug)
    assert response.headers["x-kyma-provider"] == "dearer"
    assert response.headers["x-kyma-attempts"] == "1"


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


def test_who_requires_all_parameters_gets_no_model_that_can_not_do_them(gateway, fake, twofold):
    customer, model = Customer(gateway), twofold.model
    tool = {"type": "function", "function": {"name": "look"}}
    wish = {"provider": {"require_parameters": True}, "tools": [tool]}
    told = refused(customer.ask("hello", model=model.slug, **wish), 404, "not_found")
    assert told["metadata"]["excluded_by"] == ["provider.require_parameters"]
    type(model).objects.filter(pk=model.pk).update(capabilities=["tools"])
    assert customer.ask(fake.script(GOOD), model=model.slug, **wish).status_code == 200
    told = refused(customer.ask("hello", model=model.slug, **wish, new_field=1), 404, "not_found")
    assert told["metadata"]["excluded_by"] == ["provider.require_parameters"]


def test_a_suffix_is_no_part_of_the_model(gateway, fake, twofold):
    response = Customer(gateway).ask(fake.script(GOOD), model=f"{twofold.model.slug}:floor")
    assert response.headers["x-kyma-provider"] == twofold.model.slug


def test_nitro_takes_the_provider_that_writes_fastest(gateway, fake, twofold):
    customer, slug = Customer(gateway), twofold.model.slug
    for provider, first, tokens in ((slug, [], 2), ("dearer", [Pause(0.1)], 400)):
        usage = Event(usage_chunk(usage_of(10, tokens)))
        prompt = fake.script([Head(), *first, HELLO, Pause(0.2), STOP, usage, *END])
        wish = {"only": [provider]}
        response = customer.ask(prompt, model=slug, stream=True, provider=wish)
        assert "[DONE]" in list(events_of(response))
    response = customer.ask(fake.script(GOOD), model=f"{slug}:nitro")
    assert response.headers["x-kyma-provider"] == "dearer"


def test_a_provider_that_gives_one_answer_only_is_not_asked_for_several(gateway, fake):
    slug = f"single-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.base_url, unsupported=["n"])
    customer = Customer(gateway)
    error = refused(customer.ask("Hi", model=slug, n=2), 404, "not_found")
    assert error["metadata"]["excluded_by"] == ["parameter:n"]
    assert customer.ask("Hi", model=slug, n=1).status_code == 200
