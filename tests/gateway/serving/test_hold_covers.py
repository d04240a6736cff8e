"""What is held covers what an answer costs, whatever the chat template adds to the prompt."""

import dataclasses

import pytest

from gateway.catalogue.entries import read_catalogue
from gateway.dialects import embeddings as embedding_request
from gateway.dialects import text as text_request
from gateway.dialects.chat import request as chat_request
from gateway.models import Route
from gateway.serving import reservation
from gateway.serving.reservation import prompt_bound, prompt_estimate
from tests.support.gateway.receipts import billed
from tests.support.live import Customer, eventually
from tests.support.provider.scripts import answer

CHAT = chat_request.parse({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
TEXT = text_request.parse({"model": "m", "prompt": "Hi"})
EMBEDDING = embedding_request.parse({"model": "m", "input": "Hi"})


@pytest.fixture
def route(scripted):
    return read_catalogue()["scripted"].candidates[0]


@pytest.mark.parametrize(("request_", "added"), [(CHAT, 70), (TEXT, 0), (EMBEDDING, 0)])
def test_only_a_chat_has_a_template(route, request_, added):
    short, long = (dataclasses.replace(route, template_tokens=many) for many in (30, 100))
    assert prompt_bound(request_, long) == prompt_bound(request_, short) + added
    assert prompt_estimate(request_, long) == prompt_estimate(request_, short)


def test_no_template_makes_a_prompt_longer_than_the_context(route):
    one = dataclasses.replace(route, template_tokens=10**6)
    assert prompt_bound(CHAT, one) == one.context_length


def test_the_dearest_of_several_templates_is_held(route):
    plain, wordy = (dataclasses.replace(route, template_tokens=many) for many in (0, 400))
    dearest = reservation.ask_for(CHAT, (plain, wordy)).fixed_nano
    assert dearest == reservation.ask_for(CHAT, (wordy,)).fixed_nano
    assert dearest > reservation.ask_for(CHAT, (plain,)).fixed_nano


def price_of(row) -> int:
    price = row.price_version.price
    prompt, completion = row.prompt_tokens * price.input, row.completion_tokens * price.output
    return -(-(prompt + completion) // 10**6)


def test_a_system_line_that_the_template_adds_is_paid_for(customer, fake, scripted):
    tokens = 23 + 16 + scripted.template_tokens  # The prompt's bytes, its frame, the template.
    prompt = fake.script(answer("Hello", prompt_tokens=tokens, completion_tokens=1))
    assert len(prompt) == 23
    assert customer.ask(prompt, max_tokens=1).status_code == 200
    row = billed(customer, price_of(customer.settled_request()), prompt_tokens=tokens)
    assert row.cost_nano <= row.hold_nano


def test_the_default_line_of_a_real_model_is_paid_for(committed, smollm, patient_gateway):
    customer = Customer(patient_gateway)
    known = eventually(lambda: customer.ask("Hi", model=smollm.model.slug, max_tokens=1).ok)
    assert known
    row = customer.settled_request()
    assert row.prompt_tokens > len("Hi") + 16  # More than was said, and what frames it.
    assert row.cost_nano == price_of(row) <= row.hold_nano


def test_an_operator_says_how_much_a_template_adds(scripted):
    Route.objects.filter(pk=scripted.pk).update(template_tokens=9)
    (candidate,) = read_catalogue()["scripted"].candidates
    assert candidate.template_tokens == 9
    Route.objects.filter(pk=scripted.pk).update(template_tokens=512)
