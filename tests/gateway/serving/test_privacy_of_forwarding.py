"""What leaves Kyma of a request, and what stays: the provider never learns who asks, and what
was said is only ever stored sealed.
"""

import contextlib
import http.client
import subprocess
import uuid
from pathlib import Path

import orjson
import pytest
from django.db import connection, connections

from accounts.errors import SealBroken
from accounts.keyring import data_keys
from accounts.models import ApiKey
from gateway.models import RequestContent
from tests.gateway.conftest import live_route
from tests.support.factories import make_user
from tests.support.gateway.chat_bodies import GIVEN
from tests.support.gateway.receipts import (
    END,
    HELLO,
    LEAK,
    STOP,
    both,
    events_of,
    posted,
    read_until,
)
from tests.support.live import Customer, eventually
from tests.support.provider.scripts import (
    Bytes,
    Head,
    Reset,
    WaitFor,
    answer,
    chunk,
    either,
    error,
    sse,
    stream,
)

AGENT = "SecretAgent/7.0 (PRIVATE)"
ADDRESS = "127.0.0.2"
HEADERS = {
    "User-Agent": AGENT,
    "Accept-Language": "PRIVATE",
    "Cookie": "session=PRIVATE",
    "Forwarded": "for=203.0.113.7;by=PRIVATE",
    "Idempotency-Key": "PRIVATE",
    "OpenAI-Organization": "PRIVATE",
    "Referer": "https://PRIVATE.example/",
    "X-Forwarded-For": "203.0.113.7",
    "X-Request-Id": "PRIVATE",
    "X-Stainless-Os": "PRIVATE",
    "traceparent": "PRIVATE",
}
KEPT_BACK = {
    "user": "PRIVATE user",
    "safety_identifier": "PRIVATE",
    "session_id": "PRIVATE session",
    "prompt_cache_key": "PRIVATE",
    "metadata": {"PRIVATE": "PRIVATE"},
    "store": True,
    "service_tier": "PRIVATE",
    "models": ["PRIVATE"],
    "provider": {"order": ["PRIVATE"]},
    "plugins": [{"id": "PRIVATE", "enabled": False}],
    "trace": {"PRIVATE": "PRIVATE"},
    "PRIVATE_field": "PRIVATE",
}


def ask(customer: Customer, prompt: str, **fields) -> int:
    """Post from ADDRESS, with HEADERS, and read the answer. Returns its status."""
    messages = [{"role": "user", "content": prompt}]
    body = orjson.dumps({"model": "scripted", "messages": messages, **fields})
    port = customer.gateway.port
    line = http.client.HTTPConnection("127.0.0.1", port, source_address=(ADDRESS, 0))
    headers = {**HEADERS, **customer.headers, "Content-Type": "application/json"}
    with contextlib.closing(line):
        line.request("POST", "/v1/chat/completions", body, headers)
        response = line.getresponse()
        response.read()
    return response.status


def content_of(customer: Customer) -> dict:
    return orjson.loads(customer.content(customer.settled_request().id))


# --- What the provider sees ----------------------------------------------------------------------


@both
def test_the_provider_never_learns_who_asks(customer, fake, streamed):
    prompt = fake.script(either(stream("Hello"), answer("Hello")))
    assert ask(customer, prompt, stream=streamed, **GIVEN, **KEPT_BACK) == 200
    (call,) = fake.calls(prompt)
    assert call.headers.keys() == {
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    }
    assert call.headers["user-agent"] == "Kyma"
    ours = {"model", "messages", "stream", "max_tokens", *(["stream_options"] if streamed else [])}
    assert call.json.keys() == GIVEN.keys() | ours
    seen = f"{call.path} {call.headers} {call.body.decode()}".lower()
    row = customer.settled_request()
    identities = [customer.user.id, customer.account.id, customer.key.id, row.id]
    names = [customer.user.email, customer.user.email.partition("@")[0], customer.key_text]
    for secret in [*map(str, identities), *(one.hex for one in identities), *names]:
        assert secret.lower() not in seen
    for secret in ("private", "secretagent", "203.0.113.7", ADDRESS, customer.key_text[:11]):
        assert secret.lower() not in seen


def test_the_key_of_a_provider_goes_to_that_provider_alone(gateway, fake):
    provider_key = f"provider-key-{uuid.uuid4().hex}"
    provider = live_route("keyed", fake.base_url).provider
    provider.set_api_key(provider_key)
    provider.save()
    customer = Customer(gateway)
    complaint = f"Wrong key {provider_key}"
    prompt = fake.script_attempts([answer("Hello"), error(401, complaint), error(400, complaint)])
    for _ in range(3):
        response = customer.ask(prompt, model="keyed")
        assert provider_key not in f"{response.headers} {response.text}"
    for call in fake.calls(prompt):
        assert call.headers["authorization"] == f"Bearer {provider_key}"
        assert customer.key_text not in str(call.headers)
    assert found(stored(), provider_key) == []
    assert provider_key not in gateway.log.read_text()


# --- What is kept --------------------------------------------------------------------------------


@both
def test_what_was_said_is_kept_sealed_under_the_persons_key(customer, fake, streamed):
    prompt = fake.script(either(stream("Hello you"), answer("Hello you")))
    assert ask(customer, prompt, stream=streamed) == 200
    row = customer.settled_request()
    content = content_of(customer)
    assert content.keys() == {"request", "answer", "ip", "user_agent"}
    assert content["request"]["messages"] == [{"role": "user", "content": prompt}]
    assert (content["ip"], content["user_agent"]) == (ADDRESS, AGENT)
    (said,) = content["answer"]
    assert (said if streamed else said["message"])["content"] == "Hello you"
    stored_row = RequestContent.objects.get(pk=row.id)
    assert stored_row.account_id == customer.account.id
    assert round((stored_row.purge_at - row.created_at).total_seconds() / 86400) == 90
    with pytest.raises(SealBroken):
        data_keys.cipher_of(make_user().id).open(stored_row.sealed, stored_row.place)


ENDS = {
    "finished": (stream("Hello you"), 200, "Hello you"),
    "empty": (stream([]), 200, ""),
    "failed": (error(500), 502, ""),
    "declined": (error(400), 400, ""),
}


@pytest.mark.parametrize(("steps", "status", "said"), ENDS.values(), ids=ENDS)
def test_a_request_is_kept_however_it_ended(customer, fake, steps, status, said):
    prompt = fake.script(steps)
    assert ask(customer, prompt, stream=True) == status
    content = content_of(customer)
    assert content["request"]["messages"][0]["content"] == prompt
    assert content["user_agent"] == AGENT
    assert "".join(one.get("content", "") for one in content["answer"]) == said


@pytest.mark.parametrize("is_left", [True, False], ids=["left", "broken off"])
def test_of_an_answer_without_end_what_came_is_kept(customer, fake, is_left):
    prompt = fake.script([Head(), HELLO, WaitFor("the end"), Reset()])
    with customer.ask(prompt, stream=True) as response:
        events = events_of(response)
        read_until(events, "Hello ")
        if not is_left:
            fake.go(prompt, "the end")
            list(events)
    assert content_of(customer)["answer"] == [{"content": "Hello "}]


def test_all_that_an_answer_holds_is_kept(customer, fake):
    call = {"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"a":'}}
    more = {"index": 0, "function": {"arguments": "1}"}}
    deltas = [
        {"reasoning": "Well"},
        {"content": [{"type": "text", "text": "Oslo"}]},
        {"tool_calls": [call]},
        {"tool_calls": [more]},
    ]
    events = [Bytes(sse(chunk(delta))) for delta in deltas]
    assert customer.ask(fake.script([Head(), *events, STOP, *END]), stream=True).content
    assert content_of(customer)["answer"] == [
        {
            "reasoning": "Well",
            "content": "Oslo",
            "tool_calls": [{"id": "c", "name": "look", "arguments": '{"a":1}'}],
        }
    ]


# --- What isn't kept -----------------------------------------------------------------------------


def stored() -> bytes:
    """All bytes of the databases: of their files, and of the logs that become files."""
    if connection.vendor == "sqlite":
        names = [connections[alias].settings_dict["NAME"] for alias in ("default", "keyring")]
        paths = [Path(f"{name}{end}") for name in names for end in ("", "-wal")]
    else:
        with connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")
            cursor.execute("SHOW data_directory")
            (folder,) = cursor.fetchone()
        paths = [*Path(folder, "base").rglob("*"), *Path(folder, "pg_wal").rglob("*")]
    files = [path for path in paths if path.is_file()]
    # In another process: to close a file of SQLite's is to lose this one's locks on it.
    return subprocess.run(["cat", *files], stdout=subprocess.PIPE, check=False).stdout


def found(files: bytes, *texts: str) -> list[str]:
    """Which of the texts the files hold."""
    return [text for text in texts if text.encode() in files]


@both
def test_no_file_of_a_database_holds_what_was_said(customer, fake, streamed):
    asked, answered = uuid.uuid4().hex, uuid.uuid4().hex
    prompt = fake.script(either(stream(answered), answer(answered)))
    assert ask(customer, f"{prompt} {asked}", stream=streamed) == 200
    row = customer.settled_request()
    content = customer.content(row.id).decode()
    assert asked in content
    assert answered in content
    files = stored()
    written_id = row.id.bytes if connection.vendor == "postgresql" else row.id.hex.encode()
    assert files.count(written_id)  # So the row has come to the files that are searched.
    assert found(files, asked, answered, prompt, AGENT, ADDRESS, customer.key_text) == []
    log = customer.gateway.log.read_text()
    assert not any(secret in log for secret in (asked, answered, customer.key_text))


def test_no_log_holds_what_a_provider_says(customer, fake):
    marker = uuid.uuid4().hex
    said = f"{LEAK} {marker}"
    for steps in (error(500, said), error(401, said), [Head(), Bytes(b"data: " + said.encode())]):
        customer.ask(fake.script(steps), stream=True)
    assert marker not in customer.gateway.log.read_text()
    eventually(customer.requests, lambda rows: len(rows) == 3)
    assert found(stored(), marker) == []


def keeping_nothing(customer: Customer) -> Customer:
    ApiKey.objects.filter(pk=customer.key.pk).update(retention_days=0)
    return customer


@both
@pytest.mark.parametrize("ending", ["finished", "failed", "refused"])
def test_a_key_that_keeps_nothing_leaves_no_content(customer, fake, streamed, ending):
    keeping_nothing(customer)
    good = either(stream("Hello"), answer("Hello"))
    prompt = fake.script(error(500) if ending == "failed" else good)
    fields = {"temperature": "hot"} if ending == "refused" else {}
    ask(customer, prompt, stream=streamed, **fields)
    row = customer.settled_request()
    assert row.outcome == {"failed": "upstream-failed"}.get(ending, ending)
    assert not RequestContent.objects.filter(account_id=customer.account.id).exists()


def test_a_key_that_keeps_nothing_leaves_none_of_an_answer_that_was_left(customer, fake):
    keeping_nothing(customer)
    prompt = fake.script([WaitFor("the hang-up")])
    with posted(customer, prompt, stream=True):
        fake.wait_for_calls(prompt)
    assert customer.settled_request().outcome == "client-gone"
    assert not RequestContent.objects.filter(account_id=customer.account.id).exists()
