"""What the official `anthropic` package makes of Kyma's refusals and of streams that break off."""

import uuid

import anthropic
import pytest

from accounts.models import User
from gateway.models import ApiRequest
from tests.support.gateway.anthropic_clients import asked, client_of
from tests.support.gateway.faults import impatient
from tests.support.gateway.http_client import send, wait_for_log
from tests.support.gateway.receipts import END, HELLO, LEAK, LEAKED, STOP, billed
from tests.support.live import Customer
from tests.support.provider.scripts import Event, Head, Reset, Silence, WaitFor, answer, error

SAYS_503 = Event({"error": {"message": LEAK, "code": 503}})


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


def refused(client, error_class, prompt="Hello", **fields) -> anthropic.APIStatusError:
    """The error that the package raises, once its shape was checked."""
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**asked(prompt) | fields)
    failure = caught.value
    assert type(failure) is error_class, failure
    assert set(failure.body) == {"type", "error", "request_id"}
    assert failure.body["type"] == "error"
    assert set(failure.body["error"]) == {"type", "message", "details"}
    assert failure.body["request_id"] == failure.request_id
    assert failure.request_id == failure.response.headers["request-id"]
    return failure


def only_row(customer) -> ApiRequest:
    wait_for_log(customer.gateway)
    (row,) = customer.requests()
    return row


# Refusals


def test_an_unknown_key_is_an_authentication_error(customer):
    with client_of(customer, api_key="sk-ant-nothing", max_retries=2) as client:
        failure = refused(client, anthropic.AuthenticationError)
    assert failure.type == "authentication_error"
    assert failure.error_code == "invalid_api_key"
    wait_for_log(customer.gateway)
    assert customer.requests() == []


def test_an_empty_account_is_a_billing_error_that_is_never_repeated(gateway, fake):
    customer = Customer(gateway, balance_nano=0)
    token = fake.script(answer("x"))
    with client_of(customer, max_retries=2) as client:
        failure = refused(client, anthropic.PaymentRequiredError, token)
    assert (failure.status_code, failure.type) == (402, "billing_error")
    assert failure.error_code == "insufficient_credits"
    details = failure.body["error"]["details"]
    assert (details["available"], details["affordable_max_tokens"]) == (0, 0)
    assert details["required"] > 0
    assert fake.count(token) == 0
    row = only_row(customer)
    assert (row.api, row.status) == ("messages", 402)


def test_a_suspended_account_is_a_permission_error(client, customer):
    User.objects.filter(pk=customer.user.pk).update(state=User.State.SUSPENDED)
    failure = refused(client, anthropic.PermissionDeniedError)
    assert (failure.type, failure.error_code) == ("permission_error", "account_suspended")


def test_an_unknown_model_is_not_found(client, customer):
    failure = refused(client, anthropic.NotFoundError, model="no/such-model")
    assert (failure.type, failure.error_code) == ("not_found_error", "model_not_found")
    row = only_row(customer)
    assert uuid.UUID(failure.request_id) == row.id
    assert (row.api, row.status) == ("messages", 404)


def test_a_wrong_field_is_named_as_the_caller_wrote_it(client, customer):
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    blocks = [{"type": "document", "source": source}]
    failure = refused(client, anthropic.BadRequestError, prompt=blocks)
    assert failure.type == "invalid_request_error"
    assert failure.body["error"]["details"]["param"] == "messages.0.content.0.source"
    assert "send its text in a source of type text" in failure.api_message


def test_a_wrong_count_is_refused_alike(client, customer):
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        client.messages.count_tokens(model="scripted", messages=[])
    row = only_row(customer)
    assert (row.api, row.status) == ("count_tokens", 400)


def test_a_wrong_base_url_is_told_the_right_one(customer):
    path = f"{customer.gateway.url}/v1"
    with client_of(customer, base_url=path) as client, pytest.raises(anthropic.NotFoundError) as it:
        client.messages.create(**asked("Hello"))
    assert f"Anthropic clients {customer.gateway.url}." in str(it.value)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_other_methods_are_refused_in_anthropics_shape(customer, path):
    response = send(customer.gateway, "GET", path, headers=customer.headers)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == "invalid_request_error"


# Providers that fail


@pytest.mark.parametrize(
    ("status", "error_class", "type_name"),
    [
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (503, anthropic.ServiceUnavailableError, "overloaded_error"),
        (529, anthropic.ServiceUnavailableError, "overloaded_error"),
        (504, anthropic.GatewayTimeoutError, "timeout_error"),
    ],
)
def test_a_failing_provider_is_free(client, customer, fake, status, error_class, type_name):
    token = fake.script(error(status, LEAK, headers={"Retry-After": "7"}))
    failure = refused(client, error_class, token)
    assert failure.type == type_name
    if status in (429, 503, 529):
        assert failure.response.headers["retry-after"] == "7"
    assert not LEAKED.search(failure.response.text)
    row = customer.settled_request()
    assert (row.cost_nano, row.status) == (0, failure.status_code)
    assert customer.usage_entries() == []


def read_until_it_breaks(client, fake, token: str) -> anthropic.APIStatusError:
    with client.messages.stream(**asked(token)) as events:
        assert next(iter(events.text_stream)) == "Hello "
        fake.go(token, "the break")
        with pytest.raises(anthropic.APIStatusError) as caught:
            events.until_done()
    return caught.value


@pytest.mark.parametrize(
    ("end", "error_type", "type_name"),
    [
        (Reset(), "provider_unavailable", "api_error"),
        pytest.param(Silence(), "timeout", "timeout_error", marks=impatient),
        (SAYS_503, "provider_overloaded", "overloaded_error"),
    ],
    ids=["reset", "silence", "error event"],
)
def test_a_stream_that_breaks_off_ends_with_an_error_and_is_free(
    client, customer, fake, end, error_type, type_name
):
    token = fake.script([Head(), HELLO, WaitFor("the break"), end])
    failure = read_until_it_breaks(client, fake, token)
    assert (failure.type, failure.error_code) == (type_name, error_type)
    assert failure.body["error"]["details"]["error_type"] == error_type
    assert not LEAKED.search(str(failure))
    broken = {"outcome": "upstream-failed", "status": 200, "error_type": error_type}
    billed(customer, 0, api="messages", **broken)


def test_nothing_follows_the_error_event(client, customer, fake):
    token = fake.script([Head(), HELLO, WaitFor("the break"), Reset()])
    with client.messages.with_streaming_response.create(**asked(token, stream=True)) as raw:
        lines = raw.iter_lines()
        assert "event: content_block_delta" in lines
        fake.go(token, "the break")
        assert "event: error" in lines
        data, *rest = [line for line in lines if line]
    assert data.startswith('data: {"type":"error","error":{"type":"api_error",')
    assert rest == []


def test_a_provider_that_stops_without_a_word_has_sent_an_empty_message(client, customer, fake):
    with client.messages.stream(**asked(fake.script([Head(), STOP, *END]))) as events:
        assert [each.type for each in events] == ["message_start", "message_delta", "message_stop"]
        done = events.get_final_message()
    assert (done.content, done.stop_reason) == ([], "end_turn")
    billed(customer, 0, api="messages", outcome="empty", status=200)


def test_messages_that_are_too_long_are_an_invalid_request(client):
    failure = refused(client, anthropic.BadRequestError, "x " * 40_000)
    assert failure.error_code == "context_length_exceeded"
    assert failure.body["error"]["details"]["param"] == "messages"
