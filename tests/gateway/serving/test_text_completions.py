"""POST /v1/completions, whole and streamed: forwarded as it is, billed as chat is."""

import uuid

import openai
import orjson
import pytest

from gateway.receipts.receipt import sha256
from gateway.routing.health import LEAST_ATTEMPTS
from tests.gateway.conftest import live_route
from tests.support.gateway.endpoint_answers import (
    USAGE,
    dearer_route,
    text_answer,
    text_choice,
    text_object,
    text_stream,
)
from tests.support.gateway.local_provider_process import MODEL
from tests.support.gateway.openai_clients import check_price, client_of
from tests.support.gateway.receipts import (
    INPUT,
    OUTPUT,
    billed,
    both,
    estimate,
    events_of,
    free,
    refused,
)
from tests.support.live import KEPT_ALIVE, Customer, eventually
from tests.support.provider.scripts import (
    Event,
    Head,
    Reset,
    WaitFor,
    answer,
    either,
    error,
    json_answer,
)

PATH = "/v1/completions"
PRICE = 10 * INPUT + 4 * OUTPUT  # of USAGE
ONCE = either(text_stream("Hel", "lo", usage=USAGE), text_answer("Hello"))


def complete(customer: Customer, prompt, *, model: str = "scripted", **fields):
    body = {"model": model, "prompt": prompt, **fields}
    return customer.post(body, path=PATH, stream=bool(fields.get("stream")))


def upstream(fake, token: str):
    (call,) = fake.calls(token)
    assert call.path.endswith(PATH)
    assert not call.path.endswith("/chat/completions")
    return call.json


@both
def test_a_completion_asked_for_twice_under_one_key_is_charged_once(customer, fake, streamed):
    token = fake.script(ONCE)
    body = {"model": "scripted", "prompt": token, "stream": streamed}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first, second = (customer.post(body, path=PATH, headers=key) for _ in range(2))
    assert (first.status_code, first.content) == (200, second.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert fake.count(token) == 1
    assert [one.amount_nano for one in customer.usage_entries()] == [-PRICE]


def test_a_whole_completion_is_kymas_own_and_costs_its_exact_price(customer, fake):
    token = fake.script(ONCE)
    response = complete(customer, token)
    answer = response.json()
    assert answer["id"].startswith("cmpl-")
    assert answer["id"] == response.headers["X-Generation-Id"]
    assert (answer["object"], answer["model"]) == ("text_completion", "scripted")
    assert answer["provider"] == "Scripted"
    ended = text_choice("Hello", finish_reason="stop") | {"native_finish_reason": "stop"}
    assert answer["choices"] == [ended]
    assert answer["usage"]["total_tokens"] == 14
    assert orjson.dumps(answer["usage"]["cost"]) == b"2.6e-6"
    row = billed(customer, PRICE, api="completions", outcome="finished", finish_reason="stop")
    assert upstream(fake, token) == {
        "model": "up/scripted",
        "prompt": token,
        "stream": False,
        "max_tokens": 16,
    }
    receipt = customer.get(f"/v1/generation?id={answer['id']}").json()["data"]
    assert (receipt["id"], receipt["request_id"]) == (answer["id"], str(row.id))


def test_a_stream_has_the_shape_of_text_and_ends_with_its_usage(customer, fake):
    token = fake.script(ONCE)
    response = complete(customer, token, stream=True, stream_options={"include_usage": True})
    *said, last, done = events_of(response)
    assert done == "[DONE]"
    assert "".join(one["choices"][0]["text"] for one in said) == "Hello"
    assert {one["object"] for one in [*said, last]} == {"text_completion"}
    assert {one["id"] for one in [*said, last]} == {response.headers["X-Generation-Id"]}
    assert all(one["usage"] is None for one in said)
    assert (last["choices"], last["usage"]["prompt_tokens"]) == ([], 10)
    row = billed(customer, PRICE, api="completions", streamed=True, estimated=False)
    assert upstream(fake, token)["stream_options"] == {"include_usage": True}
    logged = orjson.loads(customer.content(row.id))
    assert logged["answer"] == [{"text": "Hello"}]
    assert logged["request"]["prompt"] == token


def test_what_a_whole_completion_said_is_logged(customer, fake):
    complete(customer, fake.script(ONCE))
    row = billed(customer, PRICE)
    assert orjson.loads(customer.content(row.id))["answer"][0]["text"] == "Hello"


@both
def test_the_signed_receipt_has_the_hash_of_the_text(customer, fake, streamed):
    complete(customer, fake.script(ONCE), stream=streamed).content  # noqa: B018
    row = billed(customer, PRICE)
    receipt = customer.get(f"/v1/generation?id={row.id}").json()["data"]["receipt"]
    assert receipt["answer_sha256"] == sha256([{"text": "Hello", "tool_calls": []}])
    assert (receipt["api"], receipt["total_nano"]) == ("completions", PRICE)


@both
def test_without_usage_the_bill_is_an_estimate(customer, fake, streamed):
    script = either(text_stream("Hello", usage=None), text_answer("Hello", usage=None))
    token = fake.script(script)
    complete(customer, token, stream=streamed).content  # noqa: B018
    prompt, completion = estimate(token, 5)
    billed(customer, prompt * INPUT + completion * OUTPUT, estimated=True)


def test_an_estimate_takes_no_echo_for_an_answer(customer, fake):
    said = 50 * "x"  # The prompt, and what goes on from it.
    token = fake.script(text_answer(said, usage=None))
    complete(customer, token, echo=True)
    prompt, completion = estimate(token, len(said) - len(token))
    billed(customer, prompt * INPUT + completion * OUTPUT, estimated=True)


def test_the_hold_covers_every_answer_to_every_prompt(customer, fake):
    token = fake.script(text_answer("a", "b", "c", "d"))
    complete(customer, [token, "Twice"], n=2, max_tokens=7)
    row = billed(customer, PRICE)
    prompt_bound = len(token) + len("Twice") + 2 * 4
    assert row.hold_nano == prompt_bound * INPUT + 1 + 2 * 2 * 7 * OUTPUT
    assert upstream(fake, token)["n"] == 2


def test_usage_of_several_prompts_may_exceed_one_context(customer, fake):
    usage = {"prompt_tokens": 12_000, "completion_tokens": 2, "total_tokens": 12_002}
    token = fake.script(text_answer("a", "b", usage=usage))
    complete(customer, [token + " long" * 2000, "short" * 1400])
    billed(customer, 12_000 * INPUT + 2 * OUTPUT, flagged=False, estimated=False)


def test_token_ids_are_held_for_one_by_one(gateway, fake):
    route = live_route(f"ids-{uuid.uuid4().hex[:8]}", fake.base_url)
    customer = Customer(gateway)
    complete(customer, [1, 2, 3], model=route.model.slug, max_tokens=5)
    row = customer.settled_request()
    assert row.hold_nano == (3 + 4) * INPUT + 1 + 5 * OUTPUT


def test_a_stream_that_breaks_ends_with_an_error_and_is_free(customer, fake):
    first = Event(text_object([text_choice("Hello ")]))
    token = fake.script([Head(), first, WaitFor("the break"), Reset()])
    events = events_of(complete(customer, token, stream=True))
    assert next(events)["choices"][0]["text"] == "Hello "
    fake.go(token, "the break")
    (last,) = events
    assert last["error"]["code"] == 502
    assert last["object"] == "text_completion"
    assert last["choices"] == [text_choice("", finish_reason="error")]
    billed(customer, 0, outcome="upstream-failed")


@pytest.mark.gateway_with(**KEPT_ALIVE)
def test_a_silent_stream_is_kept_alive(customer, fake):
    first = Event(text_object([text_choice("Hello ")]))
    token = fake.script([Head(), first, WaitFor("the comments"), *text_stream("World")[1:]])
    lines = complete(customer, token, stream=True).iter_lines(chunk_size=None)
    assert b": keep-alive" in lines
    fake.go(token, "the comments")
    assert b"data: [DONE]" in lines
    billed(customer, PRICE)


def test_a_client_that_hangs_up_pays_for_what_it_got(customer, fake):
    first = Event(text_object([text_choice("Hello ")]))
    token = fake.script([Head(), first, WaitFor("the hang-up"), *text_stream("World")[1:]])
    response = complete(customer, token, stream=True)
    assert next(events_of(response))["choices"][0]["text"] == "Hello "
    response.close()
    fake.wait_for_hang_up(token)
    prompt, completion = estimate(token, 6)
    nano = prompt * INPUT + completion * OUTPUT
    billed(customer, nano, outcome="client-gone", estimated=True, upstream_cost_nano=nano)


@pytest.mark.parametrize(
    "bad",
    [json_answer({"choices": []}), json_answer({"object": "list", "data": []}), error(500)],
    ids=["no choices", "another kind of answer", "500"],
)
def test_another_provider_answers_in_place_of_a_bad_one(gateway, fake, bad):
    slug = f"twofold-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.base_url)
    dearer = dearer_route(slug, fake.base_url)
    customer = Customer(gateway)
    token = fake.script_attempts([bad, text_answer("Hello")])
    assert complete(customer, token, model=slug).headers["x-kyma-attempts"] == "2"
    billed(customer, 2 * PRICE, provider=dearer.slug)


def test_a_provider_without_the_endpoint_is_passed_over(gateway, fake):
    slug = f"chat-only-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.base_url, unsupported=["/completions"])
    customer = Customer(gateway)
    told = refused(complete(customer, "Once", model=slug), 404, "not_found")
    assert told["metadata"]["excluded_by"] == ["endpoint:/completions"]
    dearer = dearer_route(slug, fake.base_url)
    response = complete(customer, fake.script(ONCE), model=slug)
    assert response.headers["x-kyma-provider"] == dearer.slug


def test_a_route_that_fails_at_completions_is_still_the_first_for_chat(gateway, fake):
    slug = f"half-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.base_url)
    dearer = dearer_route(slug, fake.base_url)
    customer = Customer(gateway)
    for _ in range(LEAST_ATTEMPTS):
        failing = fake.script_attempts([error(404), text_answer("Hello")])
        assert complete(customer, failing, model=slug).headers["x-kyma-attempts"] == "2"
    response = complete(customer, fake.script(ONCE), model=slug)
    assert response.headers["x-kyma-provider"] == dearer.slug
    response = customer.ask(fake.script(answer("Hello")), model=slug)
    assert response.headers["x-kyma-provider"] == slug


def test_bad_input_reaches_no_provider_and_costs_nothing(customer):
    told = refused(complete(customer, ["a", ""]), 400, "invalid_request")
    assert told["param"] == "prompt[1]"
    row = eventually(customer.requests)[0]
    assert (row.outcome, row.api, row.hold_nano) == ("refused", "completions", 0)


def test_a_prompt_beyond_the_context_is_refused_by_its_field(customer):
    told = refused(complete(customer, "x" * 70_000), 400, "context_length_exceeded")
    assert told["param"] == "prompt"


def test_what_a_provider_declines_is_told_and_free(customer, fake):
    told = refused(
        complete(customer, fake.script(error(400, "No echo here."))), 400, "invalid_request"
    )
    assert "No echo here." in told["message"]
    free(customer, 400, "invalid_request", "declined")


# --- The official client, and a real model -------------------------------------------------------


@pytest.fixture
def patient(committed, scripted, smollm, patient_gateway):
    return Customer(patient_gateway)


def test_the_openai_package_completes_with_a_real_model(patient):
    with client_of(patient) as client:
        done = client.completions.create(
            model=MODEL, prompt="The capital of France is", temperature=0
        )
    assert isinstance(done.choices[0].text, str)
    assert done.choices[0].text
    assert (done.object, done.model) == ("text_completion", MODEL)
    assert done.usage.completion_tokens <= 16
    check_price(patient, done.usage)


def test_the_openai_package_streams_several_prompts_of_a_real_model(patient):
    with client_of(patient) as client:
        chunks = list(
            client.completions.create(
                model=MODEL,
                prompt=["One, two,", "A, B,"],
                temperature=0,
                max_tokens=8,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    *said, last = chunks
    assert {each.choices[0].index for each in said} == {0, 1}
    assert all(each.id == last.id for each in said)
    check_price(patient, last.usage)


def test_the_openai_package_takes_a_real_models_token_ids(patient):
    with client_of(patient) as client:
        done = client.completions.create(model=MODEL, prompt=[504, 3575], max_tokens=4)
    assert done.usage.prompt_tokens == 2
    check_price(patient, done.usage)


def test_the_openai_package_raises_what_kyma_refuses(patient):
    with client_of(patient) as client, pytest.raises(openai.BadRequestError) as refusal:
        client.completions.create(model=MODEL, prompt="")
    assert refusal.value.param == "prompt"
