"""402 tells the truth: what a request can cost, what is there, and how many tokens would fit."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import NamedTuple

import pytest

from billing.pricing import NANO_PER_USD
from billing.tiers import TIERS
from gateway.commits import reconcile
from gateway.models import ApiRequest
from tests.gateway.conftest import live_route
from tests.support.factories import cap_key, make_price
from tests.support.gateway.http_client import error_of
from tests.support.live import USD, Customer, eventually
from tests.support.provider.scripts import WaitFor, answer, either, stream

TOKEN_NANO = 1000  # of the answer; a thousand times a prompt's.
PROMPT = "Say something long."


class Told(NamedTuple):
    """What a 402 says, in nano-dollars."""

    required: int
    available: int
    affordable: int


@pytest.fixture
def dear(gateway, fake) -> str:
    """A model whose answers cost a thousand nano-dollars a token."""
    route = live_route("dear-answers", fake.base_url)
    if route.price_version.output_nano != TOKEN_NANO * 10**6:
        route.price_version = make_price(
            input_nano=10**6, cached_input_nano=10**6, output_nano=TOKEN_NANO * 10**6
        )
        route.save(update_fields=["price_version"])
    stranger = Customer(gateway, unlimited=True)
    eventually(
        lambda: stranger.get("/v1/models/dear-answers").json(),
        lambda shown: shown.get("pricing", {}).get("prompt") == "0.000000001",
    )
    return route.model.slug


def told_by(response) -> Told:
    assert response.status_code == 402
    error = error_of(response)
    assert error["type"] == "billing_error"
    metadata = error["metadata"]
    assert set(metadata) == {"error_type", "required", "available", "affordable_max_tokens"}
    assert metadata["error_type"] == "payment_required"
    amounts = (metadata[name] for name in ("required", "available"))
    nano = [int(Decimal(repr(amount)) * NANO_PER_USD) for amount in amounts]
    return Told(*nano, metadata["affordable_max_tokens"])


def sent_up(fake, token: str) -> dict:
    (call,) = fake.calls(token)
    return call.json


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("balance_nano", [1_000_000, 1_000_500, 999_999])
def test_asking_again_with_what_is_affordable_succeeds(
    gateway, fake, dear, balance_nano, streamed, n
):
    customer = Customer(gateway, balance_nano=balance_nano)
    token = fake.script(either(stream("Hello."), answer("Hello.")))
    fields = {"model": dear, "n": n, "stream": streamed}
    told = told_by(customer.ask(token, max_tokens=5000, **fields))
    assert told.available == balance_nano
    assert told.required > balance_nano
    assert 0 < told.affordable < 5000
    assert told_by(customer.ask(token, max_tokens=told.affordable + 1, **fields)).available
    assert fake.count(token) == 0
    assert customer.held_nano() == 0

    assert customer.ask(token, max_tokens=told.affordable, **fields).content
    assert sent_up(fake, token)["max_tokens"] == told.affordable
    rows = eventually(customer.requests, lambda rows: len(rows) == 3)
    assert [row.status for row in rows] == [402, 402, 200]
    assert rows[2].hold_nano <= balance_nano < rows[2].hold_nano + n * TOKEN_NANO


def test_what_is_required_is_what_would_be_held(gateway, fake, dear):
    poor, rich = Customer(gateway, balance_nano=1), Customer(gateway, balance_nano=USD)
    token = fake.script(answer("Hello."))
    told = told_by(poor.ask(token, model=dear, max_tokens=300))
    assert rich.ask(token, model=dear, max_tokens=300).status_code == 200
    assert rich.settled_request().hold_nano == told.required


def test_exactly_enough_is_enough(gateway, fake, dear):
    token = fake.script(answer("Hello."))
    required = told_by(
        Customer(gateway, balance_nano=1).ask(token, model=dear, max_tokens=300)
    ).required
    short = Customer(gateway, balance_nano=required - 1)
    assert told_by(short.ask(token, model=dear, max_tokens=300)).affordable == 299
    enough = Customer(gateway, balance_nano=required)
    assert enough.ask(token, model=dear, max_tokens=300).status_code == 200


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 1}, {"n": 8}])
def test_nothing_affords_nothing(gateway, fake, dear, fields):
    customer = Customer(gateway, balance_nano=0)
    token = fake.script(answer("x"))
    response = customer.ask(token, model=dear, **fields)
    told = told_by(response)
    assert (told.available, told.affordable) == (0, 0)
    assert told.required > 0
    error = error_of(response)
    assert error["code"] == "insufficient_credits"
    assert error["message"].endswith(
        "The credit left is $0.0: add credit in the dashboard, at /billing."
    )
    assert fake.count(token) == 0
    row = customer.settled_request()
    assert (row.status, row.outcome) == (402, ApiRequest.Outcome.REFUSED)
    assert (row.model, row.hold_nano, row.attempts) == (dear, 0, [])


def test_credit_that_is_owed_counts_as_none(gateway, fake, dear):
    customer = Customer(gateway, balance_nano=USD, owed_nano=1)
    told = told_by(customer.ask("Hello", model=dear, max_tokens=1))
    assert (told.available, told.affordable) == (0, 0)


def test_a_spend_cap_of_the_key_is_told_apart_from_the_balance(gateway, fake, dear):
    customer = Customer(gateway)
    cap_key(customer.key, day_cap_nano=100_000)
    token = fake.script(answer("Hello."))
    response = customer.ask(token, model=dear, max_tokens=500)
    told = told_by(response)
    assert error_of(response)["code"] == "key_limit_reached"
    assert "The spend cap of this key leaves $0.0001: ask for at most" in response.text
    assert told.available == 100_000
    assert customer.ask(token, model=dear, max_tokens=told.affordable).status_code == 200


# Models without a price


@pytest.fixture
def free(gateway, fake) -> str:
    """A model whose tokens cost nothing."""
    route = live_route("free-answers", fake.base_url)
    if route.price_version.input_nano:
        route.price_version = make_price(input_nano=0, output_nano=0)
        route.save(update_fields=["price_version"])
    return route.model.slug


@pytest.mark.parametrize("streamed", [False, True])
def test_a_free_model_answers_without_credit(gateway, fake, free, streamed):
    customer = Customer(gateway, balance_nano=0)
    cap_key(customer.key, total_cap_nano=0)
    token = fake.script(either(stream("Hello."), answer("Hello.")))
    assert "Hello" in customer.ask(token, model=free, stream=streamed).text
    row = customer.settled_request()
    assert (row.outcome, row.hold_nano, row.cost_nano) == (ApiRequest.Outcome.FINISHED, 0, 0)
    assert row.completion_tokens
    assert list(reconcile.differences(customer.account.id)) == []


def test_a_free_model_keeps_the_limit_of_requests_at_once(gateway, fake, free):
    customer = Customer(gateway, balance_nano=0)
    token = fake.script([WaitFor("the end"), *answer("Hello.")])
    at_once = TIERS[0].max_open_holds
    with ThreadPoolExecutor(at_once) as threads:
        asked = [threads.submit(customer.ask, token, model=free) for _ in range(at_once)]
        fake.wait_for_calls(token, at_once)
        refusal = customer.ask(token, model=free)
        fake.go(token, "the end")
        assert [one.result().status_code for one in asked] == [200] * at_once
    assert error_of(refusal)["code"] == "too_many_concurrent_requests"


# The limit that is sent upstream


def test_without_a_limit_little_credit_makes_a_small_one(gateway, fake, dear):
    customer = Customer(gateway, balance_nano=20 * TOKEN_NANO)
    token = fake.script(answer("Hello."))
    assert customer.ask(token, model=dear).status_code == 200
    limit = sent_up(fake, token)["max_tokens"]
    assert 15 < limit < 20
    row = customer.settled_request()
    assert row.hold_nano <= 20 * TOKEN_NANO
    assert row.hold_nano + TOKEN_NANO > 20 * TOKEN_NANO


def test_without_a_limit_credit_for_one_token_is_enough(gateway, fake, dear):
    customer = Customer(gateway, balance_nano=2 * TOKEN_NANO - 1)
    token = fake.script(answer("H", prompt_tokens=10, completion_tokens=1))
    assert customer.ask(token, model=dear).status_code == 200
    assert sent_up(fake, token)["max_tokens"] == 1


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, 4096),
        ({"max_tokens": 33}, 33),
        ({"max_completion_tokens": 44}, 44),
        ({"max_tokens": 33, "max_completion_tokens": 44}, 44),
        ({"max_tokens": 100_000}, 8192 - 8 - 16 - 512),  # What is left beside the prompt.
        ({"max_tokens": 33, "stream": True}, 33),
    ],
)
def test_the_limit_that_counts_goes_up(customer, fake, fields, limit):
    token = fake.script(either(stream("Hello."), answer("Hello.")))
    assert customer.ask(token, **fields).content
    body = sent_up(fake, token)
    assert body["max_tokens"] == limit
    assert "max_completion_tokens" not in body
    assert customer.settled_request().hold_nano > limit * 400
