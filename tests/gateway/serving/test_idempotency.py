"""Idempotency-Key: whatever is sent twice is answered alike and charged once."""

import concurrent.futures
import datetime as dt
import uuid

import anthropic
import openai
import pytest
from django.utils import timezone

from accounts.models import ApiKey
from gateway.commits import sweeper
from gateway.commits.reconcile import differences
from gateway.log import content
from gateway.models import ApiRequest, IdempotentRequest, WebProcess
from tests.support.counts import counts
from tests.support.factories import make_key
from tests.support.gateway.receipts import events_of, refused, text_of
from tests.support.live import KEPT_ALIVE, Customer, Gateway, eventually
from tests.support.provider.scripts import (
    Close,
    Event,
    Head,
    WaitFor,
    answer,
    chunk,
    either,
    error,
    stream,
)

BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": None}]},
    "/v1/messages": {"messages": [{"role": "user", "content": None}], "max_tokens": 50},
    "/v1/responses": {"input": None},
}


@pytest.fixture
def hello(fake) -> str:
    """A prompt that is answered with a number that grows: no two answers are alike."""
    answers = [
        either(
            stream(["Hello", f" {number}"]),
            answer(f"Hello {number}"),
        )
        for number in range(9)
    ]
    return fake.script_attempts(answers)


@pytest.fixture
def other_process(gateways):
    return gateways[1]


def new_key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def body_for(path: str, prompt: str, **fields) -> dict:
    body = {"model": "scripted", **BODIES[path], **fields}
    if "input" in body:
        return {**body, "input": prompt}
    return {**body, "messages": [{"role": "user", "content": prompt}]}


def charged_once(customer: Customer) -> None:
    eventually(customer.holds, lambda holds: not holds)
    assert len(customer.usage_entries()) == 1
    assert list(differences(customer.account.id)) == []


def outcomes(customer: Customer, count: int) -> list[str]:
    rows = eventually(customer.requests, lambda rows: len(rows) == count)
    return sorted(row.outcome for row in rows)


# --- Replays


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_the_same_request_gets_the_same_answer_and_is_charged_once(
    customer, fake, hello, path, streamed
):
    body, headers = body_for(path, hello, stream=streamed), new_key()
    first = customer.post(body, path=path, headers=headers)
    assert first.status_code == 200, first.text
    second = customer.post(body, path=path, headers=headers)
    assert second.status_code == 200, second.text
    assert second.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    for name in ("Content-Type", "X-Generation-Id", "x-kyma-model", "x-kyma-provider"):
        assert second.headers[name] == first.headers[name]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert int(second.headers["x-ratelimit-remaining-requests"]) > 0
    assert fake.count(hello) == 1
    charged_once(customer)
    assert outcomes(customer, 2) == ["finished", "replayed"]


def test_a_replay_needs_no_credit_and_no_route(customer, hello):
    body, headers = body_for("/v1/chat/completions", hello), new_key()
    first = customer.post(body, headers=headers)
    customer.account.refresh_from_db()
    type(customer.account).objects.filter(pk=customer.account.pk).update(owed_nano=1)
    assert customer.post(body, headers=headers).content == first.content


def test_a_replay_works_in_another_process(customer, other_process, hello):
    body, headers = body_for("/v1/chat/completions", hello), new_key()
    first = customer.post(body, headers=headers)
    assert customer.at(other_process).post(body, headers=headers).content == first.content


@pytest.mark.gateway_with(**KEPT_ALIVE)
def test_pings_are_no_part_of_what_is_repeated(customer, fake):
    steps = [Head(), Event(chunk({"content": "Hi"})), WaitFor("on"), *stream([" there"])[1:]]
    prompt, headers = fake.script(steps), new_key()
    body = body_for("/v1/chat/completions", prompt, stream=True)
    response = customer.post(body, stream=True, headers=headers)
    lines = response.iter_lines(chunk_size=None)
    assert any(line.startswith(b": keep-alive") for line in lines)
    fake.go(prompt, "on")
    assert list(lines)[-2] == b"data: [DONE]"
    again = customer.post(body, headers=headers)
    assert b"keep-alive" not in again.content
    assert text_of(events_of(again)) == "Hi there"


def test_without_a_key_each_request_is_answered_anew(customer, fake, hello):
    answers = {customer.ask(hello).json()["choices"][0]["message"]["content"] for _ in range(2)}
    assert answers == {"Hello 0", "Hello 1"}


def test_another_account_may_use_the_same_key(gateway, fake, hello):
    headers = new_key()
    body = body_for("/v1/chat/completions", hello)
    one, other = Customer(gateway), Customer(gateway)
    assert one.post(body, headers=headers).content != other.post(body, headers=headers).content
    charged_once(one)
    charged_once(other)


# --- Refusals


def test_another_body_under_the_same_key_is_refused(customer, hello):
    headers = new_key()
    customer.post(body_for("/v1/chat/completions", hello), headers=headers)
    changed = body_for("/v1/chat/completions", hello, temperature=1)
    error = refused(customer.post(changed, headers=headers), 422, "unprocessable")
    assert error["code"] == "idempotency_key_reused"
    elsewhere = customer.post(body_for("/v1/messages", hello), path="/v1/messages", headers=headers)
    assert elsewhere.status_code == 422
    charged_once(customer)


def test_a_request_in_flight_is_not_sent_again(customer, other_process, fake):
    prompt = fake.script([WaitFor("on"), *answer("Late")])
    body, headers = body_for("/v1/chat/completions", prompt), new_key()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        first = threads.submit(customer.post, body, headers=headers)
        fake.wait_for_calls(prompt)
        for gateway in (customer.gateway, other_process):
            response = customer.at(gateway).post(body, headers=headers)
            assert refused(response, 409, "conflict")["code"] == "idempotency_key_in_use"
            assert response.headers["x-should-retry"] == "false"
            assert response.headers["Retry-After"] == "1"
        fake.go(prompt, "on")
        assert first.result().status_code == 200
    assert customer.post(body, headers=headers).content == first.result().content
    assert fake.count(prompt) == 1
    charged_once(customer)


@pytest.mark.parametrize("text", ["", "x" * 256])
def test_a_key_has_1_to_255_characters(customer, hello, text):
    response = customer.post(
        body_for("/v1/chat/completions", hello), headers={"Idempotency-Key": text}
    )
    assert refused(response, 400, "invalid_request")["param"] == "idempotency-key"


def test_with_retention_0_nothing_is_kept_and_a_repeat_is_refused_without_charge(customer, hello):
    customer.key, customer.key_text = make_key(customer.user, retention_days=0)
    body, headers = body_for("/v1/chat/completions", hello), new_key()
    first = customer.post(body, headers=headers)
    error = refused(customer.post(body, headers=headers), 409, "conflict")
    assert error["code"] == "content_not_retained"
    assert error["metadata"]["generation_id"] == first.headers["X-Generation-Id"]
    assert error["metadata"]["usage"] == first.json()["usage"]
    assert IdempotentRequest.objects.get(account=customer.account).answer is None
    charged_once(customer)


# --- What frees a key


@pytest.mark.parametrize(
    "ending",
    [
        error(500, "broken"),
        [Head(), Event(chunk({"content": "Hel"})), Close()],
        error(400, "no"),
    ],
    ids=["refused", "broken off", "declined"],
)
def test_an_answer_that_is_not_complete_frees_the_key(customer, fake, ending):
    whole = stream(["Hello"])
    prompt, headers = fake.script_attempts([ending, whole]), new_key()
    body = body_for("/v1/chat/completions", prompt, stream=True)
    first = customer.post(body, headers=headers)
    assert b"[DONE]" not in first.content
    eventually(customer.holds, lambda holds: not holds)
    second = customer.post(body, headers=headers)
    assert text_of(events_of(second)) == "Hello"
    assert fake.count(prompt) == 2
    charged_once(customer)


def test_a_client_that_leaves_frees_the_key(customer, fake):
    broken = [Head(), Event(chunk({"content": "Hel"})), WaitFor("never")]
    whole = stream(["Hello"])
    prompt, headers = fake.script_attempts([broken, whole]), new_key()
    body = body_for("/v1/chat/completions", prompt, stream=True)
    first = customer.post(body, stream=True, headers=headers)
    assert next(first.iter_lines(chunk_size=None))
    first.close()
    eventually(customer.holds, lambda holds: not holds)
    assert text_of(events_of(customer.post(body, headers=headers))) == "Hello"


def test_a_key_in_the_hands_of_a_dead_process_is_free_once_its_hold_is_swept(
    scripted, fake, hello, committed
):
    with Gateway() as doomed:
        customer = Customer(doomed)
        stuck = fake.script_attempts([[WaitFor("never")], answer("Alive")])
        body, headers = body_for("/v1/chat/completions", stuck), new_key()
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            lost = threads.submit(customer.post, body, headers=headers)
            fake.wait_for_calls(stuck)
            doomed.kill()
            assert lost.exception() is not None
        doomed.start()
        assert customer.post(body, headers=headers).status_code == 409
        (hold,) = customer.holds()
        WebProcess.objects.filter(pk=hold.process_id).update(dead_at=timezone.now())
        assert customer.post(body, headers=headers).status_code == 409
        sweeper.sweep()
        response = customer.post(body, headers=headers)
    assert response.json()["choices"][0]["message"]["content"] == "Alive"


def test_a_key_is_forgotten_after_a_day(customer, fake, hello):
    body, headers = body_for("/v1/chat/completions", hello), new_key()
    first = customer.post(body, headers=headers)
    kept = IdempotentRequest.objects.filter(account=customer.account)
    age = kept.get().expires_at - timezone.now()
    assert dt.timedelta(hours=23) < age <= dt.timedelta(hours=24)
    kept.update(expires_at=timezone.now())
    assert customer.post(body, headers=headers).content != first.content
    kept.update(expires_at=timezone.now())
    content.purge()
    assert not kept.exists()


def test_what_is_kept_can_not_be_read_in_the_database(customer, hello):
    customer.post(body_for("/v1/chat/completions", hello), headers=new_key())
    row = IdempotentRequest.objects.get(account=customer.account)
    assert row.answer
    assert b"Hello" not in bytes(row.answer)


# --- Races


def race(customer: Customer, gateways: list[Gateway], fake, count: int) -> None:
    prompt = fake.script_attempts([answer(f"Hello {number}") for number in range(9)])
    body, headers = body_for("/v1/chat/completions", prompt), new_key()
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        asks = [
            threads.submit(customer.at(gateways[i % len(gateways)]).post, body, headers=headers)
            for i in range(count)
        ]
        found = [one.result() for one in asks]
    assert {one.status_code for one in found} <= {200, 409}
    answers = {one.content for one in found if one.status_code == 200}
    assert len(answers) == 1
    assert customer.post(body, headers=headers).content in answers
    assert fake.count(prompt) == 1
    charged_once(customer)


@pytest.mark.parametrize("rounds", counts(3, proof=25, endurance=100))
def test_of_many_racing_attempts_one_reaches_the_provider(gateway, other_process, fake, rounds):
    for _ in range(rounds):
        race(Customer(gateway, unlimited=True), [gateway, other_process], fake, 12)


# --- The official clients


def test_the_openai_package_repeats_a_lost_request_without_paying_twice(customer, fake, hello):
    client = openai.OpenAI(base_url=f"{customer.gateway.url}/v1", api_key=customer.key_text)
    headers = new_key()
    ask = {"model": "scripted", "messages": [{"role": "user", "content": hello}]}
    with client:
        first = client.chat.completions.create(**ask, extra_headers=headers)
        second = client.chat.completions.create(**ask, extra_headers=headers)
    assert second == first
    charged_once(customer)


def test_the_anthropic_package_replays_a_stream(customer, fake, hello):
    client = anthropic.Anthropic(base_url=customer.gateway.url, api_key=customer.key_text)
    headers = new_key()
    texts = []
    with client:
        for _ in range(2):
            with client.messages.stream(
                model="scripted",
                max_tokens=50,
                messages=[{"role": "user", "content": hello}],
                extra_headers=headers,
            ) as events:
                texts.append(events.get_final_text())
    assert texts == ["Hello 0", "Hello 0"]
    charged_once(customer)


def test_a_disabled_key_replays_nothing(customer, hello):
    body, headers = body_for("/v1/chat/completions", hello), new_key()
    customer.post(body, headers=headers)
    ApiKey.objects.filter(pk=customer.key.pk).update(disabled_at=timezone.now())
    assert customer.post(body, headers=headers).status_code == 401
    assert ApiRequest.objects.filter(account=customer.account).count() == 1
