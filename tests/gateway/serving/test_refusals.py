"""A refused request leaves counts and timing alone, and a large body asks the limits first."""

import json

import orjson
import pytest
import requests

from gateway.models import Model, RequestContent
from tests.gateway.conftest import live_route
from tests.support.factories import make_key
from tests.support.gateway.http_client import error_of
from tests.support.gateway.wire_client import CHAT, Answer, WireClient
from tests.support.live import DEADLINE_S, Customer, eventually
from tests.support.provider.scripts import answer, either, error, stream

HELLO = [{"role": "user", "content": "Hello"}]
LARGE = "x" * (64_000 + 10_000)
MB = 1_000_000
COUNT = "x-ratelimit-remaining-requests"


@pytest.fixture
def roomy(committed, fake) -> str:
    """A model with room for large prompts."""
    route = live_route("roomy", fake.base_url)
    Model.objects.filter(pk=route.model_id).update(context_length=MB)
    return route.model.slug


def limited(gateway, requests_per_minute: int) -> Customer:
    customer = Customer(gateway, balance_nano=10**12, tier=4)
    customer.key, customer.key_text = make_key(
        customer.user, requests_per_minute=requests_per_minute
    )
    return customer


# --- What is stored

BODIES = {
    "wrong": (400, {"model": "scripted", "messages": HELLO, "temperature": "hot"}),
    "no such model": (400, {"model": "none-such", "messages": HELLO}),
    "too dear": (402, {"model": "scripted", "messages": HELLO, "max_tokens": 1000}),
    "too large": (413, {"model": "scripted", "messages": "x" * 10 * MB}),
}


def why_none(customer: Customer, row) -> str:
    shown = customer.get(f"/v1/generation?id={row.id}").json()["data"]
    assert not shown["content_kept"]
    return shown["why_no_content"]


def has_content(customer: Customer) -> bool:
    return RequestContent.objects.filter(account_id=customer.account.id).exists()


@pytest.mark.parametrize(("status", "body"), BODIES.values(), ids=BODIES)
def test_nothing_of_a_refused_request_is_stored_but_counts(gateway, status, body):
    customer = Customer(gateway, balance_nano=1)
    assert customer.post(body).status_code == status
    row = customer.settled_request()
    assert (row.status, row.outcome, row.attempts) == (status, "refused", [])
    assert row.latency_ms > 0
    assert not has_content(customer)
    assert "No provider was asked, so nothing was stored" in why_none(customer, row)


def test_nothing_of_what_exceeds_a_limit_is_stored(gateway):
    customer = limited(gateway, 1)
    assert [customer.ask("Hello", model="none-such").status_code for _ in range(2)] == [400, 429]
    assert len(eventually(customer.requests, lambda rows: len(rows) == 2))
    assert not has_content(customer)


def test_nothing_of_what_asks_no_model_is_stored(customer):
    body = {"model": "scripted", "messages": HELLO}
    assert customer.post(body, path="/v1/messages/count_tokens").status_code == 200
    assert customer.settled_request().outcome == "finished"
    assert not has_content(customer)


def test_a_repeat_stores_nothing_beside_the_first(customer, fake):
    prompt, headers = fake.script(answer("Hello")), {"Idempotency-Key": "once"}
    body = {"model": "scripted", "messages": [{"role": "user", "content": prompt}]}
    first, again = (customer.post(body, headers=headers) for _ in range(2))
    assert again.content == first.content
    rows = eventually(customer.requests, lambda rows: len(rows) == 2)
    assert [customer.content(row.id) is not None for row in rows] == [True, False]
    assert "kept with the first" in why_none(customer, rows[1])


def test_what_a_provider_refused_is_kept_since_it_was_asked(customer, fake):
    prompt = fake.script(error(400, "No"))
    assert customer.ask(prompt).status_code == 400
    content = orjson.loads(customer.content(customer.settled_request().id))
    assert content["request"]["messages"][0]["content"] == prompt


# --- Beyond the budget of a day

little_is_kept = pytest.mark.gateway_with(CONTENT_MB_PER_DAY="1")


@little_is_kept
@pytest.mark.parametrize("streamed", [False, True])
def test_beyond_the_budget_answers_are_given_and_charged_and_not_kept(customer, fake, streamed):
    said = "x" * 400_000
    prompt = fake.script(either(stream(said), answer(said)))
    for _ in range(3):
        assert said in customer.ask(prompt, stream=streamed).text
    rows = eventually(customer.requests, lambda rows: len(rows) == 3)
    assert [customer.content(row.id) is not None for row in rows] == [True, True, False]
    assert [row.content_left_out for row in rows] == ["", "", "budget"]
    assert len({row.cost_nano for row in rows}) == 1
    assert len(customer.usage_entries()) == 3
    assert "as much as it may within a day" in why_none(customer, rows[2])


@little_is_kept
def test_beyond_the_budget_a_repeat_is_refused_and_not_charged(customer, fake):
    said = "x" * 800_000
    body = {"model": "scripted", "messages": [{"role": "user", "content": None}]}
    body["messages"][0]["content"] = fake.script(answer(said))
    assert customer.post(body, headers={"Idempotency-Key": "one"}).status_code == 200
    conflict = customer.post(body, headers={"Idempotency-Key": "one"})
    assert conflict.status_code == 409
    error = error_of(conflict)
    assert error["code"] == "content_not_retained"
    assert "stored as much as it may" in error["message"]
    assert len(customer.usage_entries()) == 1


# --- Large bodies ask the limits first


def used_up(gateway) -> Customer:
    customer = limited(gateway, 1)
    assert customer.ask("Hello", model="none-such").status_code == 400
    return customer


def limit_error(answer: Answer) -> dict:
    assert (answer.status, int(answer.headers["retry-after"])) == (429, 60)
    return json.loads(answer.body)["error"]


def test_a_large_body_is_refused_before_it_is_read(gateway):
    customer = used_up(gateway)
    with WireClient(gateway.port) as client:
        client.send_head({**customer.headers, "Content-Length": str(9 * MB)})
        error = limit_error(client.read_to_the_end())
    assert error["code"] == "key_requests_per_minute"
    assert error["metadata"]["error_type"] == "rate_limit_exceeded"


def test_a_body_without_a_length_is_refused_once_it_is_large(gateway):
    customer = used_up(gateway)
    with WireClient(gateway.port) as client:
        client.send_head({**customer.headers, "Transfer-Encoding": "chunked"}, "/v1/messages")
        client.send(b"%x\r\n%b\r\n" % (len(LARGE), LARGE.encode()))
        error = limit_error(client.read_to_the_end())
    assert error["type"] == "rate_limit_error"
    assert error["message"].startswith("This key may send 1 requests per minute")


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
def test_clients_that_send_all_of_it_read_why_and_keep_their_connection(gateway, path):
    customer = used_up(gateway)
    with requests.Session() as session:
        session.headers.update(customer.headers)
        for _ in range(2):
            refusal = session.post(gateway.url + path, json={"x": LARGE}, timeout=DEADLINE_S)
            assert refusal.status_code == 429
        assert session.get(f"{gateway.url}/v1/models", timeout=DEADLINE_S).status_code == 200


def as_pieces(body: dict):
    yield orjson.dumps(body)


@pytest.mark.parametrize("send", [orjson.dumps, as_pieces], ids=["length", "chunked"])
def test_a_large_request_counts_once(gateway, roomy, fake, send):
    customer, prompt = limited(gateway, 3), fake.script(answer("Hello"))
    body = {"model": roomy, "messages": [{"role": "user", "content": prompt + LARGE}]}
    headers = {**customer.headers, "Content-Type": "application/json"}
    answers = [
        requests.post(gateway.url + CHAT, send(body), headers=headers, timeout=DEADLINE_S)
        for _ in range(4)
    ]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert [one.headers[COUNT] for one in answers[:3]] == ["2", "1", "0"]
    assert answers[0].headers["x-ratelimit-limit-tokens"] == "10000000"


def test_a_large_request_that_is_wrong_counts_once(gateway):
    customer = limited(gateway, 2)
    bodies = [{"model": "scripted", "messages": LARGE}] * 3
    assert [customer.post(body).status_code for body in bodies] == [400, 400, 429]


def test_a_large_request_that_is_repeated_counts_once(gateway, roomy, fake):
    customer, prompt = limited(gateway, 2), fake.script(answer("Hello"))
    body = {"model": roomy, "messages": [{"role": "user", "content": prompt + LARGE}]}
    answers = [customer.post(body, headers={"Idempotency-Key": "one"}) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert fake.count(prompt) == 1


def test_a_small_body_is_read_as_before(gateway):
    customer = used_up(gateway)
    refusal = customer.post({"model": "scripted", "messages": HELLO})
    assert error_of(refusal)["code"] == "key_requests_per_minute"
    assert customer.post({"messages": 1}).status_code == 429
