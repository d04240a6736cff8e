"""What a model thinks, as Anthropic's package meets it: a block of its own to who asks for it."""

import pytest

from tests.support.gateway.anthropic_clients import asked, check_price, client_of
from tests.support.gateway.openai_clients import upstream
from tests.support.gateway.receipts import END, STOP
from tests.support.live import KEPT_ALIVE, Customer
from tests.support.provider.scripts import (
    Event,
    Head,
    WaitFor,
    chunk,
    either,
    json_answer,
    usage_chunk,
    usage_of,
)

PING = 'data: {"type":"ping"}'


@pytest.fixture
def customer(committed, scripted, patient_gateway):
    return Customer(patient_gateway)


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_a_thinking_block_that_goes_back_up(client, customer, fake, field):
    said = {"role": "assistant", "content": "42", field: "Six times seven."}
    usage = usage_of(10, 9) | {"completion_tokens_details": {"reasoning_tokens": 6}}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    token = fake.script(json_answer({"choices": [choice], "usage": usage}))
    thinking = {"type": "enabled", "budget_tokens": 1024}
    done = client.messages.create(**asked(token, thinking=thinking, max_tokens=2000))
    thought, text = done.content
    assert (thought.type, thought.thinking) == ("thinking", "Six times seven.")
    assert text.text == "42"
    assert check_price(customer, done).reasoning_tokens == 6
    assert upstream(fake, token)["reasoning"] == {"enabled": True, "max_tokens": 1024}

    turns = [
        {"role": "user", "content": "What?"},
        {"role": "assistant", "content": done.content},
        {"role": "user", "content": token},
    ]
    client.messages.create(model="scripted", max_tokens=100, messages=turns)
    sent = fake.calls(token)[1].json["messages"][1]
    assert sent == {"role": "assistant", "content": "42", "reasoning_content": "Six times seven."}


def test_reasoning_streams_in_a_block_of_its_own(client, customer, fake):
    steps = [Event(chunk({"reasoning": "Six times "})), Event(chunk({"reasoning": "seven."}))]
    steps += [Event(chunk({"content": "42"}, finish_reason="stop"))]
    token = fake.script([Head(), *steps, Event(usage_chunk(usage_of(10, 9))), *END])
    with client.messages.stream(**asked(token, thinking={"type": "adaptive"})) as events:
        deltas = [each.delta.type for each in events if each.type == "content_block_delta"]
        done = events.get_final_message()
    assert deltas == ["thinking_delta", "thinking_delta", "signature_delta", "text_delta"]
    thought, text = done.content
    assert (thought.thinking, text.text) == ("Six times seven.", "42")
    assert thought.signature
    assert customer.settled_request().completion_tokens == 9


def test_an_answer_begins_with_its_text_where_nobody_asked_for_thinking(client, customer, fake):
    steps = [Event(chunk({"reasoning": "Six times seven."})), Event(chunk({"content": "42"}))]
    steps += [STOP, Event(usage_chunk(usage_of(10, 9))), *END]
    said = {"role": "assistant", "content": "42", "reasoning_content": "Six times seven."}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    whole = json_answer({"choices": [choice], "usage": usage_of(10, 9)})
    token = fake.script(either([Head(), *steps], whole))
    done = client.messages.create(**asked(token))
    assert done.content[0].text == "42"
    assert check_price(customer, done).completion_tokens == 9
    with client.messages.stream(**asked(token, thinking={"type": "disabled"})) as events:
        assert events.get_final_message().content[0].text == "42"


@pytest.mark.gateway_with(**KEPT_ALIVE)
def test_long_thinking_that_is_not_told_is_kept_alive_and_not_paid(client, customer, fake):
    steps = [Event(chunk({"reasoning": "Hm." * 100})), WaitFor("hang-up"), *END]
    token = fake.script([Head(), *steps])
    with client.messages.with_streaming_response.create(**asked(token, stream=True)) as raw:
        lines = raw.iter_lines()
        assert PING in lines
        assert PING in lines
    fake.wait_for_hang_up(token)
    row = customer.settled_request()
    assert (row.outcome, row.completion_tokens) == ("client-gone", 0)
