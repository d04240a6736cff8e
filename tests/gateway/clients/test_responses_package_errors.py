"""What the official `openai` package makes of responses that Kyma refuses, or that break off."""

import openai
import pytest
from openai.types.responses import ResponseFailedEvent

from tests.support.gateway.faults import impatient
from tests.support.gateway.http_client import wait_for_log
from tests.support.gateway.openai_clients import client_of
from tests.support.gateway.receipts import END, HELLO, LEAK, LEAKED, STOP, billed
from tests.support.gateway.responses_bodies import names_of
from tests.support.gateway.responses_clients import ask, events_of
from tests.support.live import Customer
from tests.support.provider.scripts import Event, Head, Reset, Silence, WaitFor, answer, error


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


@pytest.mark.parametrize(
    ("field", "value"),
    [("store", True), ("previous_response_id", "resp_1"), ("background", True)],
)
def test_what_would_need_a_kept_response_is_refused(client, customer, fake, field, value):
    token = fake.script(answer("x"))
    with pytest.raises(openai.BadRequestError, match="Kyma keeps no") as caught:
        ask(client, token, **{field: value})
    assert caught.value.param == field
    assert fake.count(token) == 0
    wait_for_log(customer.gateway)
    (row,) = customer.requests()
    assert (row.api, row.status, row.cost_nano) == ("responses", 400, 0)


def test_an_empty_account_is_refused_in_openais_shape(gateway):
    customer = Customer(gateway, balance_nano=0)
    with client_of(customer) as client, pytest.raises(openai.APIStatusError) as caught:
        ask(client, "Hello")
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_credits")


def test_a_failing_provider_is_free(client, customer, fake):
    with pytest.raises(openai.InternalServerError):
        ask(client, fake.script(error(500)))
    assert customer.settled_request().cost_nano == 0
    assert customer.usage_entries() == []


@pytest.mark.parametrize(
    ("end", "error_type"),
    [
        (Reset(), "provider_unavailable"),
        pytest.param(Silence(), "timeout", marks=impatient),
        (Event({"error": {"message": LEAK, "code": 503}}), "provider_overloaded"),
    ],
    ids=["reset", "silence", "error event"],
)
def test_a_stream_that_breaks_off_has_failed_and_is_free(client, customer, fake, end, error_type):
    token = fake.script([Head(), HELLO, WaitFor("the break"), end])
    with ask(client, token, stream=True) as events:
        assert any(each.type == "response.output_text.delta" for each in events)
        fake.go(token, "the break")
        (last,) = list(events)
    assert last.type == "response.failed"
    failed = last.response
    ResponseFailedEvent.model_validate_json(last.model_dump_json(exclude_unset=True), strict=True)
    assert (failed.status, failed.error.code) == ("failed", "server_error")
    assert failed.output[0].content[0].text == "Hello "
    assert not LEAKED.search(str(failed))
    broken = {"outcome": "upstream-failed", "status": 200, "error_type": error_type}
    billed(customer, 0, api="responses", **broken)


def test_a_provider_that_stops_without_a_word_has_completed_an_empty_response(
    client, customer, fake
):
    events = events_of(client, fake.script([Head(), STOP, *END]))
    assert names_of(events) == ["created", "in_progress", "completed"]
    assert events[-1]["response"]["output"] == []
    billed(customer, 0, api="responses", outcome="empty", status=200)


@pytest.mark.parametrize("truncation", ["disabled", "auto"])
def test_input_that_is_too_long_is_named_as_the_caller_wrote_it(client, truncation):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "x " * 40_000, truncation=truncation)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
