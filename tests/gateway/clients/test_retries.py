"""The official packages repeat what failed: when they were told to, and the answer is paid once."""

from collections.abc import Callable

import pytest

from gateway.errors import MAX_RETRY_AFTER_S, TooManyRequests, Unavailable
from tests.support.gateway import anthropic_clients, openai_clients
from tests.support.gateway.openai_clients import says
from tests.support.gateway.receipts import GOOD, PRICE, TEXT, events_of
from tests.support.live import USD, Customer, eventually
from tests.support.provider.scripts import error

BUSY = error(429, headers={"Retry-After": "1"})
DOWN = error(503, headers={"Retry-After": "1"})


def chat(customer: Customer, prompt: str) -> str:
    with openai_clients.client_of(customer, max_retries=2) as client:
        done = client.chat.completions.create(model="scripted", messages=says(prompt))
    return done.choices[0].message.content


def chat_stream(customer: Customer, prompt: str) -> str:
    with openai_clients.client_of(customer, max_retries=2) as client:
        chunks = client.chat.completions.create(
            model="scripted", messages=says(prompt), stream=True
        )
        return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


def responses(customer: Customer, prompt: str) -> str:
    with openai_clients.client_of(customer, max_retries=2) as client:
        return client.responses.create(model="scripted", input=prompt, store=False).output_text


def responses_stream(customer: Customer, prompt: str) -> str:
    with (
        openai_clients.client_of(customer, max_retries=2) as client,
        client.responses.stream(model="scripted", input=prompt) as events,
    ):
        return events.get_final_response().output_text


def messages(customer: Customer, prompt: str) -> str:
    with anthropic_clients.client_of(customer, max_retries=2) as client:
        return client.messages.create(**anthropic_clients.asked(prompt)).content[0].text


def messages_stream(customer: Customer, prompt: str) -> str:
    with (
        anthropic_clients.client_of(customer, max_retries=2) as client,
        client.messages.stream(**anthropic_clients.asked(prompt)) as events,
    ):
        return events.get_final_text()


Ask = Callable[[Customer, str], str]
each_package = pytest.mark.parametrize(
    "ask",
    [chat, chat_stream, responses, responses_stream, messages, messages_stream],
    ids=lambda ask: ask.__name__,
)


def statuses(customer: Customer, count: int) -> list[int]:
    """What became of the customer's requests, once there are `count`."""
    rows = eventually(customer.requests, lambda rows: len(rows) >= count)
    return [row.status for row in rows]


@each_package
def test_a_busy_provider_is_asked_again_when_it_said(customer, fake, ask: Ask):
    prompt = fake.script_attempts([BUSY, DOWN, GOOD])
    assert ask(customer, prompt) == TEXT
    first, second, third = fake.calls(prompt)
    for earlier, later in ((first, second), (second, third)):
        assert 1 <= later.started_at - earlier.started_at < 10
    assert statuses(customer, 3) == [429, 503, 200]
    eventually(customer.holds, lambda holds: not holds)
    assert [entry.amount_nano for entry in customer.usage_entries()] == [-PRICE]
    assert customer.balance_nano() == USD - PRICE
    assert [row.cost_nano for row in customer.requests()] == [0, 0, PRICE]


@each_package
def test_what_will_not_get_better_is_asked_once(customer, fake, ask: Ask):
    prompt = fake.script_attempts([error(400, "Bad schema."), GOOD])
    with pytest.raises(Exception, match="Bad schema") as caught:
        ask(customer, prompt)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert statuses(customer, 1) == [400]
    assert fake.count(prompt) == 1


def test_who_has_no_credit_is_told_so_once(gateway, fake):
    poor = Customer(gateway, balance_nano=0)
    with pytest.raises(Exception, match="credit") as caught:
        chat(poor, fake.script(GOOD))
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert statuses(poor, 1) == [402]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_a_failure_of_the_provider_is_worth_repeating(customer, fake, status):
    response = customer.ask(fake.script(error(status)))
    assert response.headers["x-should-retry"] == "true"
    if response.status_code in (429, 503):
        assert 1 <= int(response.headers["Retry-After"]) <= MAX_RETRY_AFTER_S


def test_an_answer_says_nothing_of_repeating(customer, fake):
    response = customer.ask(fake.script(GOOD), stream=True)
    assert "x-should-retry" not in response.headers
    assert list(events_of(response))[-1] == "[DONE]"


@pytest.mark.parametrize("error_class", [TooManyRequests, Unavailable])
def test_nobody_is_told_to_wait_longer_than_clients_do(error_class):
    headers = error_class("Later.", retry_after_s=86_400).headers
    assert headers == {"Retry-After": str(MAX_RETRY_AFTER_S)}
