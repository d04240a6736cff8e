"""What the official `openai` package makes of Kyma's refusals, headers and list of models."""

import uuid

import openai
import orjson
import pytest

from accounts import keys
from accounts.models import User
from billing.pricing import nano
from gateway.models import ApiRequest
from tests.gateway.conftest import live_route
from tests.support.gateway.http_client import wait_for_log
from tests.support.gateway.openai_clients import check_price, client_of, run_async, says
from tests.support.live import Customer
from tests.support.provider.scripts import answer, error, stream

SLUG = "maker/with-slash"


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


def ask(client, token="Hello", **fields):
    return client.chat.completions.create(
        **{"model": "scripted", "messages": says(token), **fields}
    )


def refused(client, error_class, token="Hello", **fields) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, token, **fields)
    assert type(caught.value) is error_class
    return caught.value


def only_row(customer) -> ApiRequest:
    wait_for_log(customer.gateway)
    (row,) = customer.requests()
    return row


# Models


def test_the_models_are_listed(client, fake):
    live_route(SLUG, fake.base_url)
    listed = {model.id: model for model in client.models.list()}
    assert {"scripted", SLUG} <= set(listed)
    assert (listed[SLUG].object, listed[SLUG].owned_by) == ("model", "Test")
    assert listed[SLUG].created > 1_700_000_000
    assert listed[SLUG].pricing["prompt"] == "0.0000001"


@pytest.mark.parametrize("slug", ["scripted", SLUG])
def test_a_model_is_shown_as_it_is_listed(client, fake, slug):
    live_route(slug, fake.base_url)
    listed = {model.id: model for model in client.models.list()}
    assert client.models.retrieve(slug) == listed[slug]


def test_a_model_with_a_slash_in_its_id_answers(client, customer, fake):
    live_route(SLUG, fake.base_url)
    done = ask(client, fake.script(answer("Hello.")), model=SLUG)
    assert done.model == SLUG
    check_price(customer, done.usage)


# Refusals


def test_an_unknown_key_is_an_authentication_error(customer):
    _, gone = keys.issue(customer.user, name="gone")
    customer.user.api_keys.filter(name="gone").delete()
    with client_of(customer, api_key=gone, max_retries=2) as client:
        failure = refused(client, openai.AuthenticationError)
    assert (failure.status_code, failure.code) == (401, "invalid_api_key")
    assert failure.type == "authentication_error"
    wait_for_log(customer.gateway)
    assert customer.requests() == []


def test_an_empty_account_is_a_status_error_that_is_never_repeated(gateway, fake):
    customer = Customer(gateway, balance_nano=0)
    token = fake.script(answer("x"))
    with client_of(customer, max_retries=2) as client:
        failure = refused(client, openai.APIStatusError, token)
    assert (failure.status_code, failure.code) == (402, "insufficient_credits")
    assert failure.body["metadata"]["available"] == 0
    assert fake.count(token) == 0
    assert only_row(customer).status == 402


def test_a_suspended_account_is_a_permission_error(client, customer):
    User.objects.filter(pk=customer.user.pk).update(state=User.State.SUSPENDED)
    failure = refused(client, openai.PermissionDeniedError)
    assert (failure.status_code, failure.code) == (403, "account_suspended")


def test_an_unknown_model_is_not_found(client, customer):
    failure = refused(client, openai.NotFoundError, model="no/such-model")
    assert (failure.status_code, failure.code) == (404, "model_not_found")
    assert failure.param == "model"


def test_a_wrong_parameter_is_a_bad_request_that_names_it(client, customer):
    failure = refused(client, openai.BadRequestError, temperature=3)
    assert failure.param == "temperature"
    assert "not 3" in failure.message


def test_parameters_that_contradict_each_other_are_unprocessable(client, customer):
    failure = refused(client, openai.UnprocessableEntityError, tool_choice="required")
    assert (failure.status_code, failure.param) == (422, "tool_choice")


def test_an_unknown_model_can_not_be_shown(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no/such-model")
    assert caught.value.code == "model_not_found"


def test_a_wrong_base_url_is_told_the_right_one(customer):
    with client_of(customer, base_url=f"{customer.gateway.url}/v1/v1") as client:
        failure = refused(client, openai.NotFoundError)
    assert f"{customer.gateway.url}/v1," in failure.message


# Repeating


def test_repeating_ends_after_max_retries(customer, fake):
    token = fake.script(error(429, headers={"Retry-After": "1"}))
    with client_of(customer, max_retries=1) as client:
        failure = refused(client, openai.RateLimitError, token)
    assert (failure.status_code, failure.code) == (429, "provider_overloaded")
    assert failure.response.headers["retry-after"] == "1"
    assert fake.count(token) == 2
    assert customer.usage_entries() == []


def test_a_failing_provider_is_an_internal_error_that_costs_nothing(client, customer, fake):
    token = fake.script(error(500))
    failure = refused(client, openai.InternalServerError, token)
    assert failure.status_code == 502
    assert customer.settled_request().cost_nano == 0
    assert customer.usage_entries() == []


# Ids and headers


def test_the_request_id_leads_to_the_row(client, customer):
    done = ask(client)
    row = customer.settled_request()
    assert uuid.UUID(done._request_id) == row.id
    assert done.id == f"chatcmpl-{row.id.hex}"


def test_an_error_has_the_request_id_too(client, customer):
    failure = refused(client, openai.BadRequestError, temperature=3)
    assert uuid.UUID(failure.request_id) == only_row(customer).id


def test_the_raw_headers_tell_who_answered_and_what_it_cost(client, customer, fake):
    raw = client.chat.completions.with_raw_response.create(
        model="scripted", messages=says(fake.script(answer("Hello.")))
    )
    done = raw.parse()
    row = customer.settled_request()
    assert raw.headers["x-request-id"] == str(row.id)
    assert raw.headers["x-generation-id"] == done.id
    assert raw.headers["x-kyma-model"] == "scripted"
    assert raw.headers["x-kyma-provider"] == "scripted"
    assert raw.headers["x-kyma-attempts"] == "1"
    assert float(raw.headers["x-kyma-overhead-ms"]) == pytest.approx(row.overhead_ms)
    assert nano(raw.headers["x-kyma-cost"]) == row.cost_nano
    check_price(customer, done.usage)


def test_a_stream_has_the_headers_but_for_the_cost(client, customer, fake):
    with client.chat.completions.with_streaming_response.create(
        model="scripted", messages=says(fake.script(stream("Hello."))), stream=True
    ) as raw:
        text = raw.read().decode()
    row = customer.settled_request()
    assert raw.headers["x-request-id"] == str(row.id)
    assert raw.headers["x-kyma-provider"] == "scripted"
    assert "x-kyma-cost" not in raw.headers
    first = orjson.loads(text.partition("\n\n")[0].removeprefix("data: "))
    assert first["id"] == raw.headers["x-generation-id"]


def test_the_async_client_raises_the_same_errors(customer):
    async def story(client):
        return await client.chat.completions.create(model="no/such-model", messages=says("Hello"))

    with pytest.raises(openai.NotFoundError, match="no/such-model"):
        run_async(customer, story)
    assert only_row(customer).status == 404
