"""POST /v1/embeddings: vectors that were checked, in the format asked for, at their exact price."""

import base64
import contextlib
import http.client
import struct
import uuid

import openai
import orjson
import pytest

from gateway.models import Model
from tests.gateway.conftest import live_route
from tests.support.gateway.endpoint_answers import (
    PROMPT_USAGE,
    VECTORS,
    dearer_route,
    vectors_answer,
)
from tests.support.gateway.local_provider_process import MODEL
from tests.support.gateway.openai_clients import client_of
from tests.support.gateway.receipts import INPUT, billed, estimate, free, paid, refused
from tests.support.live import USD, Customer, eventually
from tests.support.provider.scripts import WaitFor, error, json_answer

PATH = "/v1/embeddings"
PRICE = 7 * INPUT  # of PROMPT_USAGE


@pytest.fixture
def embedder(gateway, fake):
    """The slug of a model of its own that does nothing but embed."""
    return new_embedder(fake)


def new_embedder(fake, **provider_fields) -> str:
    slug = f"embedder-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.base_url, **provider_fields)
    Model.objects.filter(slug=slug).update(capabilities=["embedding"])
    return slug


def embed(customer: Customer, model: str, given, **fields):
    return customer.post({"model": model, "input": given, **fields}, path=PATH)


def test_vectors_are_kymas_own_answer_at_their_exact_price(customer, fake, embedder):
    token = fake.script(vectors_answer(id="theirs", debug="theirs"))
    response = embed(customer, embedder, [token, "b"], user="alice")
    row = billed(customer, PRICE, api="embeddings", outcome="finished", estimated=False)
    assert (row.prompt_tokens, row.completion_tokens) == (7, 0)
    answer = response.json()
    assert answer == {
        "object": "list",
        "id": f"emb-{row.id.hex}",
        "model": embedder,
        "provider": embedder.title(),
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(VECTORS)
        ],
        "usage": {**PROMPT_USAGE, "cost": 7e-7},
    }
    assert response.headers["X-Generation-Id"] == answer["id"]
    (call,) = fake.calls(token)
    assert call.path.endswith(PATH)
    assert call.json == {
        "model": f"up/{embedder}",
        "input": [token, "b"],
        "encoding_format": "float",
    }
    receipt = customer.get(f"/v1/generation?id={answer['id']}").json()["data"]
    assert receipt["request_id"] == str(row.id)


def test_base64_is_written_by_kyma(customer, fake, embedder):
    token = fake.script(vectors_answer(VECTORS[:1]))
    (item,) = embed(customer, embedder, token, encoding_format="base64").json()["data"]
    assert struct.unpack("<3f", base64.b64decode(item["embedding"])) == tuple(VECTORS[0])
    assert fake.calls(token)[0].json["encoding_format"] == "float"
    billed(customer, PRICE)


def test_the_hold_is_the_most_that_the_inputs_can_cost(customer, fake, embedder):
    token = fake.script(vectors_answer())
    embed(customer, embedder, [token, "Grüße"])
    row = billed(customer, PRICE)
    assert row.hold_nano == (len(token) + 7 + 2 * 4) * INPUT + 1


def test_inputs_that_cost_more_than_is_there_are_refused(gateway, fake, embedder):
    customer = Customer(gateway, balance_nano=1000)
    told = refused(embed(customer, embedder, "x" * 100), 402, "payment_required")
    assert told["metadata"]["affordable_max_tokens"] == 0
    assert "tokens or" not in told["message"]


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}, 7 * INPUT),
        ({"prompt_tokens": 7, "completion_tokens": None}, 7 * INPUT),
        ({"prompt_tokens": 0, "total_tokens": 0}, 0),
    ],
)
def test_usage_needs_no_completion_tokens(customer, fake, embedder, usage, nano):
    embed(customer, embedder, [fake.script(vectors_answer(usage=usage)), "b"])
    billed(customer, nano, estimated=False, flagged=False)


@pytest.mark.parametrize(
    ("usage", "flagged"),
    [(None, False), ({}, False), ({"prompt_tokens": -1}, True), ({"prompt_tokens": 10**6}, True)],
)
def test_without_a_sound_usage_the_bill_is_an_estimate(customer, fake, embedder, usage, flagged):
    token = fake.script(vectors_answer(usage=usage))
    embed(customer, embedder, [token, "b"])
    prompt, _ = estimate(token + "b", 0)
    billed(customer, prompt * INPUT, estimated=True, flagged=flagged, completion_tokens=0)


BAD = {
    "a vector too few": vectors_answer(VECTORS[:1]),
    "of two lengths": vectors_answer([[1.0], [1.0, 2.0]]),
    "no numbers": vectors_answer([[1.0], ["x"]]),
    "base64": vectors_answer(["AACAPw==", "AACAPw=="]),
    "choices": json_answer({"choices": [{"message": {"content": "Hello"}}]}),
    "500": error(500),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_another_provider_answers_in_place_of_a_bad_one(customer, fake, embedder, bad):
    dearer = dearer_route(embedder, fake.base_url)
    token = fake.script_attempts([bad, vectors_answer()])
    response = embed(customer, embedder, [token, "b"])
    assert response.headers["x-kyma-attempts"] == "2"
    row = billed(customer, 2 * PRICE, provider=dearer.slug)
    assert row.attempts[0]["error"] in ("garbled", "faulty")


def test_a_bad_answer_of_the_only_provider_is_free(customer, fake, embedder):
    token = fake.script(BAD["a vector too few"])
    refused(embed(customer, embedder, [token, "b"]), 502, "provider_unavailable")
    free(customer, 502, "provider_unavailable", "garbled")


def test_dimensions_that_no_provider_gives_are_refused(customer, fake, embedder):
    token = fake.script(vectors_answer())
    told = refused(embed(customer, embedder, [token, "b"], dimensions=2), 400, "invalid_request")
    assert "3 dimensions" in told["message"]
    assert fake.calls(token)[0].json["dimensions"] == 2
    free(customer, 400, "invalid_request", "declined")


def test_inputs_are_logged_and_of_the_vectors_their_shape(customer, fake, embedder):
    token = fake.script(vectors_answer())
    embed(customer, embedder, [token, "b"])
    logged = orjson.loads(customer.content(billed(customer, PRICE).id))
    assert logged["request"]["input"] == [token, "b"]
    assert logged["answer"] == {"embeddings": 2, "dimensions": 3}


def test_the_signed_receipt_of_vectors_that_are_not_kept_has_no_hash_of_them(
    customer, fake, embedder
):
    embed(customer, embedder, [fake.script(vectors_answer()), "b"])
    row = billed(customer, PRICE)
    receipt = customer.get(f"/v1/generation?id={row.id}").json()["data"]["receipt"]
    assert (receipt["api"], receipt["total_nano"]) == ("embeddings", PRICE)
    assert receipt["request_sha256"]
    assert receipt["answer_sha256"] is None


def test_vectors_asked_for_twice_under_one_key_are_charged_once(customer, fake, embedder):
    token = fake.script(vectors_answer())
    body = {"model": embedder, "input": [token, "b"], "encoding_format": "base64"}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first, second = (customer.post(body, path=PATH, headers=key) for _ in range(2))
    assert first.content == second.content
    assert fake.count(token) == 1
    assert [one.amount_nano for one in customer.usage_entries()] == [-PRICE]


def test_a_fallback_that_does_not_embed_is_passed_over(customer, fake, embedder):
    token = fake.script(vectors_answer())
    response = embed(customer, "scripted", [token, "b"], models=[embedder])
    assert response.json()["model"] == embedder
    billed(customer, PRICE, model=embedder)


@pytest.mark.parametrize("stops_billing", [True, False])
def test_a_client_that_hangs_up_before_the_answer_pays_nothing(gateway, fake, stops_billing):
    slug = new_embedder(fake, stops_billing_on_cancel=stops_billing)
    customer = Customer(gateway)
    token = fake.script([WaitFor("the hang-up"), *vectors_answer(VECTORS[:1])])
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    with contextlib.closing(connection):
        body = orjson.dumps({"model": slug, "input": token})
        headers = {**customer.headers, "Content-Type": "application/json"}
        connection.request("POST", PATH, body, headers)
        fake.wait_for_calls(token)
    if stops_billing:
        fake.wait_for_hang_up(token)
    fake.go(token, "the hang-up")
    upstream_cost = None if stops_billing else PRICE
    billed(customer, 0, outcome="client-gone", upstream_cost_nano=upstream_cost)


# --- Which model does what -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages"])
def test_a_model_that_only_embeds_does_not_write(customer, embedder, path):
    messages = [{"role": "user", "content": "Hello"}]
    wanted = {"prompt": "Hello"} if path == "/v1/completions" else {"messages": messages}
    response = customer.post({"model": embedder, "max_tokens": 5, **wanted}, path=path)
    assert response.status_code == 400
    assert "POST /v1/embeddings" in response.json()["error"]["message"]
    assert eventually(customer.requests)[0].outcome == "refused"


def test_a_model_that_does_not_embed_is_named_its_endpoint(customer):
    told = refused(embed(customer, "scripted", "Hello"), 400, "invalid_request")
    assert (told["param"], told["code"]) == ("model", "wrong_endpoint")
    assert "POST /v1/chat/completions" in told["message"]


def test_a_provider_without_the_endpoint_is_passed_over(gateway, fake):
    slug = new_embedder(fake, unsupported=["/embeddings"])
    told = refused(embed(Customer(gateway), slug, "Hello"), 404, "not_found")
    assert told["metadata"]["excluded_by"] == ["endpoint:/embeddings"]


def test_models_that_embed_are_listed(customer, embedder):
    listed = {one["id"]: one for one in customer.get("/v1/models").json()["data"]}
    assert listed[embedder]["architecture"]["output_modalities"] == ["embeddings"]
    assert listed["scripted"]["architecture"]["output_modalities"] == ["text"]


def test_bad_input_reaches_no_provider_and_costs_nothing(customer, embedder):
    told = refused(embed(customer, embedder, ["a", ""]), 400, "invalid_request")
    assert told["param"] == "input[1]"
    row = eventually(customer.requests)[0]
    assert (row.outcome, row.api, row.hold_nano) == ("refused", "embeddings", 0)


# --- The official client, and a real model -------------------------------------------------------


@pytest.fixture
def patient(committed, scripted, smollm, patient_gateway):
    return Customer(patient_gateway)


def test_the_openai_package_gets_the_same_vectors_in_either_format(patient):
    texts = ["A cat on the mat.", "Grüße aus Oslo"]
    with client_of(patient) as client:
        packed = client.embeddings.create(model=MODEL, input=texts)
        paid(patient, packed.usage.cost)
        plain = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    assert (packed.object, packed.model) == ("list", MODEL)
    assert [one.index for one in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(one.embedding) == 576
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert packed.usage.prompt_tokens == plain.usage.prompt_tokens > 0
    rows = eventually(patient.requests, lambda rows: len(rows) == 2)
    assert sum(row.cost_nano for row in rows) == USD - patient.balance_nano()


def test_the_openai_package_embeds_token_ids(patient):
    with client_of(patient) as client:
        made = client.embeddings.create(model=MODEL, input=[[504, 3575], [282]])
    assert [len(one.embedding) for one in made.data] == [576, 576]
    assert made.usage.prompt_tokens == 3
    paid(patient, made.usage.cost)


def test_the_openai_package_raises_what_a_real_model_declines(patient):
    with client_of(patient) as client, pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model=MODEL, input="Hello", dimensions=5)
    assert "576 dimensions" in str(refusal.value)
