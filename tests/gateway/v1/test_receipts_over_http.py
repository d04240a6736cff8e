"""Receipts as customers get them: each checks its own, with the published keys and its own eyes."""

import datetime as dt
import json

import orjson
import pytest
import requests

from gateway.models import ApiRequest, RequestContent
from gateway.receipts import keys as receipt_keys
from gateway.receipts import receipt as receipts
from tests.support.factories import make_key
from tests.support.gateway.http_client import error_of, send
from tests.support.gateway.receipt_page import functions_of
from tests.support.gateway.receipts import HELLO, both, posted
from tests.support.live import DEADLINE_S, Customer, eventually
from tests.support.provider.scripts import (
    Done,
    End,
    Event,
    Head,
    Pause,
    Reset,
    answer,
    chunk,
    either,
    stream,
    tool_call_answer,
    tool_call_stream,
    usage_of,
)

HASHES = functions_of("hashes")
SAYS = either(stream("Grüße 🌍"), answer("Grüße 🌍"))
CALLS = [("look", {"city": "Oslo", "days": 2.0}), ("open", {})]
CALLS_TOOLS = either(tool_call_stream(CALLS), tool_call_answer(CALLS))
SAID = [{"text": "Grüße 🌍", "tool_calls": []}]
CALLED = [{"text": "", "tool_calls": [{"name": name, "arguments": given} for name, given in CALLS]}]
TOOLS = {
    "/v1/chat/completions": {
        "tools": [
            {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
            for name, _ in CALLS
        ]
    },
    "/v1/messages": {
        "tools": [{"name": name, "input_schema": {"type": "object"}} for name, _ in CALLS]
    },
    "/v1/responses": {
        "tools": [
            {"type": "function", "name": name, "parameters": {"type": "object"}}
            for name, _ in CALLS
        ]
    },
}


def body_for(path: str, token: str, streamed: bool) -> dict:
    """A question at `path` whose canonical JSON isn't what a client happens to send."""
    body = {"temperature": 1.0, "model": "scripted", "stream": streamed}
    if path == "/v1/responses":
        return {**body, "input": token}
    return {**body, "messages": [{"role": "user", "content": token}], "max_tokens": 100}


def receipt_of(customer: Customer, request_id: str) -> dict:
    response = customer.get(f"/v1/generation?id={request_id}")
    assert response.status_code == 200, response.text
    return response.json()["data"]["receipt"]


def own_receipt(customer: Customer) -> dict:
    return receipt_of(customer, customer.settled_request().id)


def ask(customer: Customer, path: str, body: dict) -> requests.Response:
    response = requests.post(
        customer.gateway.url + path, json=body, headers=customer.headers, timeout=DEADLINE_S
    )
    assert response.status_code == 200, response.text
    return response


def check(customer: Customer, receipt: dict) -> None:
    """Right by the keys that the gateway publishes, and by the books."""
    keys = receipt_keys.read(send(customer.gateway, "GET", "/v1/receipts/keys").json())
    assert [one.sentence for one in receipts.checks(receipt, keys) if not one.is_right] == []
    entries = [-entry.amount_nano for entry in customer.usage_entries()]
    assert sum(entries) == receipt["total_nano"]


# --- Every API, whole and streamed


@both
@pytest.mark.parametrize("path", TOOLS)
@pytest.mark.parametrize(
    ("script", "expected"), [(SAYS, SAID), (CALLS_TOOLS, CALLED)], ids=["text", "tools"]
)
def test_the_customer_finds_the_same_hashes(customer, fake, path, streamed, script, expected):
    body = body_for(path, fake.script(script), streamed) | TOOLS[path]
    ask(customer, path, body)
    receipt = own_receipt(customer)
    check(customer, receipt)
    assert receipt["request_sha256"] == HASHES["request_sha256"](body)
    assert receipt["answer_sha256"] == HASHES["sha256"](expected)
    assert receipt["total_nano"] > 0


@pytest.mark.parametrize("script", [SAYS, CALLS_TOOLS], ids=["text", "tools"])
def test_the_example_of_the_page_hashes_what_the_answer_said(customer, fake, script):
    answered = customer.ask(fake.script(script))
    receipt = own_receipt(customer)
    assert receipt["answer_sha256"] == HASHES["answer_sha256"](answered.json())


def test_a_message_and_a_response_say_what_was_hashed(customer, fake):
    path = "/v1/messages"
    said = ask(customer, path, body_for(path, fake.script(CALLS_TOOLS), False) | TOOLS[path])
    message = [
        {
            "text": "".join(one["text"] for one in said.json()["content"] if one["type"] == "text"),
            "tool_calls": [
                {"name": one["name"], "arguments": one["input"]}
                for one in said.json()["content"]
                if one["type"] == "tool_use"
            ],
        }
    ]
    assert own_receipt(customer)["answer_sha256"] == HASHES["sha256"](message)


def test_calls_that_a_provider_gives_the_same_index_stay_apart(customer, fake):
    calls = [
        {"index": 0, "id": f"call-{name}", "function": {"name": name, "arguments": given}}
        for name, given in [("look", {"city": "Oslo"}), ("open", "{}")]
    ]
    said = [Event(chunk({"tool_calls": [call]})) for call in calls]
    end = [Event(chunk({}, finish_reason="tool_calls")), Done(), End()]
    path = "/v1/messages"
    body = body_for(path, fake.script([Head(), *said, *end]), True) | TOOLS[path]
    ask(customer, path, body)
    expected = [{"name": "look", "arguments": {"city": "Oslo"}}, {"name": "open", "arguments": {}}]
    hashed = HASHES["sha256"]([{"text": "", "tool_calls": expected}])
    assert own_receipt(customer)["answer_sha256"] == hashed


# --- Endings


def test_the_lines_are_those_of_the_price(customer, fake):
    usage = usage_of(10, 5, cached_tokens=4)
    customer.ask(fake.script(answer("Hello.", extra={"usage": usage})))
    receipt = own_receipt(customer)
    row = ApiRequest.objects.get(pk=receipt["request_id"])
    check(customer, receipt)
    lines = {line["class"]: (line["quantity"], line["cost_nano"]) for line in receipt["lines"]}
    assert lines == {
        "input": (6, 600),
        "cached_input": (4, 200),
        "output": (5, 2000),
        "request": (1, 0),
        "image": (0, 0),
    }
    assert (receipt["price_version"], receipt["hold_nano"]) == (
        str(row.price_version_id),
        row.hold_nano,
    )
    (attempt,) = receipt["attempts"]
    assert (attempt["provider"], attempt["status"], attempt["error"]) == ("scripted", 200, None)
    assert attempt["ms"] >= 0


def test_an_estimate_is_marked_and_right(customer, fake):
    customer.ask(fake.script(answer("Hello.", prompt_tokens=None)))
    receipt = own_receipt(customer)
    check(customer, receipt)
    assert receipt["estimated"] is True


def test_a_cost_beyond_the_hold_is_capped_and_right(customer, fake):
    more = usage_of(10, 500)
    customer.ask(fake.script(answer("Hello.", extra={"usage": more})), max_tokens=5)
    receipt = own_receipt(customer)
    check(customer, receipt)
    assert receipt["capped"] is True
    assert receipt["total_nano"] == receipt["hold_nano"] < receipt["lines_nano"]


def test_a_broken_answer_is_free_and_its_receipt_says_so(customer, fake):
    token = fake.script([Head(), HELLO, Reset()])
    assert customer.ask(token, stream=True).content
    receipt = own_receipt(customer)
    check(customer, receipt)
    assert (receipt["outcome"], receipt["total_nano"]) == ("upstream-failed", 0)
    assert receipt["attempts"][0]["error"] == "broken"
    assert receipt["answer_sha256"] == HASHES["sha256"]([{"text": "Hello ", "tool_calls": []}])


def test_who_hangs_up_pays_what_was_delivered(customer, fake):
    token = fake.script([Head(), HELLO, Pause(20)])
    with posted(customer, token, stream=True) as connection:
        connection.getresponse().readline()
    receipt = own_receipt(customer)
    check(customer, receipt)
    assert receipt["outcome"] == "client-gone"
    assert receipt["total_nano"] > 0


def test_a_refused_request_has_a_receipt_of_nothing(customer):
    refused = customer.ask("Hello", temperature=3)
    eventually(customer.requests)
    receipt = receipt_of(customer, refused.headers["x-request-id"])
    check(customer, receipt)
    assert (receipt["outcome"], receipt["lines"], receipt["attempts"]) == ("refused", [], [])
    assert receipt["answer_sha256"] is None


# --- The end of the content


def test_the_hashes_end_with_the_content(customer, fake):
    customer.ask(fake.script(answer("Hello.")))
    kept = own_receipt(customer)
    assert kept["request_sha256"]
    content = RequestContent.objects.filter(pk=kept["request_id"])
    assert eventually(content.count) == 1
    content.update(purge_at=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1))
    overdue = own_row_receipt(customer, kept)
    content.delete()
    gone = own_row_receipt(customer, kept)
    for receipt in (overdue, gone):
        check(customer, receipt)
        assert (receipt["request_sha256"], receipt["answer_sha256"]) == (None, None)


def own_row_receipt(customer: Customer, kept: dict) -> dict:
    """The receipt of the same request again; it differs in nothing but hashes and signature."""
    again = receipt_of(customer, kept["request_id"])
    differing = {name for name in kept if kept[name] != again[name]}
    assert differing <= {"request_sha256", "answer_sha256", "signature"}
    return again


def test_a_key_that_keeps_nothing_has_no_hashes(customer, fake):
    customer.key, customer.key_text = make_key(customer.user, retention_days=0)
    customer.ask(fake.script(answer("Hello.")))
    receipt = own_receipt(customer)
    check(customer, receipt)
    assert (receipt["request_sha256"], receipt["answer_sha256"]) == (None, None)


def test_content_that_no_longer_opens_costs_only_the_hashes(customer, fake):
    customer.ask(fake.script(answer("Hello.")))
    row = customer.settled_request()
    RequestContent.objects.filter(pk=row.id).update(sealed=b"x" * 64)
    receipt = receipt_of(customer, row.id)
    check(customer, receipt)
    assert receipt["request_sha256"] is None


# --- Whose it is


def test_the_receipt_of_alice_is_nothing_to_bob(customer, fake):
    customer.ask(fake.script(answer("Hello.")))
    row = customer.settled_request()
    stranger = Customer(customer.gateway)
    response = stranger.get(f"/v1/generation?id={row.id}")
    assert response.status_code == 404
    error_of(response)
    assert b"receipt" not in response.content


def test_a_receipt_names_nobody(customer, fake):
    customer.ask(fake.script(answer("Hello.")), user="person-7")
    text = json.dumps(own_receipt(customer))
    account, user, key = customer.account.id, customer.user.id, customer.key.id
    for one in (account, user, key):
        assert str(one) not in text
        assert one.hex not in text
    for said in (customer.user.email, "person-7", "127.0.0.1", "Hello."):
        assert said not in text


# --- The keys


def test_the_keys_are_public_and_may_be_cached(gateway):
    response = send(gateway, "GET", "/v1/receipts/keys")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "public, max-age=3600"
    (key,) = response.json()["keys"]
    assert set(key) == {"key_id", "algorithm", "public_key", "pem"}
    assert send(gateway, "POST", "/v1/receipts/keys").status_code == 405


def test_every_process_of_an_installation_has_the_same_key(gateway):
    published = send(gateway, "GET", "/v1/receipts/keys").content
    assert orjson.loads(published) == receipt_keys.published()
