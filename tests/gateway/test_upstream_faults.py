"""How a provider can fail, over real HTTP: what the client is told, and that it costs nothing."""

import contextlib
import socket

import pytest

from tests.gateway.conftest import live_route
from tests.gateway.receipts import (
    HELLO,
    LEAK,
    LEAKED,
    OVERLOADED,
    PRICE,
    STOP,
    TEXT,
    TIMEOUT,
    UNAVAILABLE,
    USAGE,
    WORLD,
    billed,
    both,
    broken_off,
    events_of,
    free,
    read_until,
    refused,
)
from tests.live import PATIENT, Customer, Gateway
from tests.provider_scripts import (
    Bytes,
    Close,
    Done,
    End,
    Event,
    Head,
    RawBytes,
    Reset,
    Silence,
    Split,
    WaitFor,
    answer,
    chunk,
    either,
    error,
    json_answer,
    stream,
    usage_chunk,
)

BUSY = b": busy\n\n"
ONE = Event(chunk({"content": "x"})).data


def raw_json(body: bytes, status: int = 200) -> list:
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    return [Head(status, headers), Bytes(body), End()]


# --- Before the first byte -----------------------------------------------------------------------

AT_ONCE = {
    "reset": ([Reset()], UNAVAILABLE, "broken"),
    "closed": ([Close()], UNAVAILABLE, "broken"),
    "no HTTP": ([RawBytes(b"SMTP ready\r\n\r\n"), Close()], UNAVAILABLE, "broken"),
    "silent": ([Silence()], TIMEOUT, "silent"),
    "500": (error(500, LEAK), UNAVAILABLE, "faulty"),
    "500 as HTML": ([Head(500, {"content-type": "text/html"}), End()], UNAVAILABLE, "faulty"),
    "500 at length": (error(500, LEAK * 2000), UNAVAILABLE, "faulty"),
    "503": (error(503, LEAK), OVERLOADED, "faulty"),
    "529": (error(529, LEAK), OVERLOADED, "faulty"),
    "504": (error(504, LEAK), TIMEOUT, "faulty"),
    "401": (error(401, LEAK, "invalid_api_key"), UNAVAILABLE, "faulty"),
    "402": (error(402, LEAK), UNAVAILABLE, "faulty"),
    "403": (error(403, LEAK), UNAVAILABLE, "faulty"),
    "404": (error(404, LEAK, "model_not_found"), UNAVAILABLE, "faulty"),
    "204": ([Head(204, {}), End()], UNAVAILABLE, "faulty"),
    "redirect": (
        [Head(307, {"location": "/v1/elsewhere", "content-length": "0"}), End()],
        UNAVAILABLE,
        "faulty",
    ),
    "HTML": (
        [Head(200, {"content-type": "text/html"}), Bytes(b"<html>Welcome</html>"), End()],
        UNAVAILABLE,
        "garbled",
    ),
    "broken JSON": (raw_json(b'{"choices": ['), UNAVAILABLE, "garbled"),
    "no object": (raw_json(b"[]"), UNAVAILABLE, "garbled"),
    "no UTF-8": (raw_json(b'{"choices": "\xff"}'), UNAVAILABLE, "garbled"),
    "nothing": (raw_json(b""), UNAVAILABLE, "garbled"),
    "error inside": (json_answer({"error": {"message": LEAK}}), UNAVAILABLE, "faulty"),
    "error text inside": (json_answer({"error": LEAK}), UNAVAILABLE, "faulty"),
    "503 inside": (json_answer({"error": {"message": LEAK, "code": 503}}), OVERLOADED, "faulty"),
}


@both
@pytest.mark.parametrize(("steps", "told", "fault"), AT_ONCE.values(), ids=AT_ONCE)
def test_a_provider_that_does_not_answer(customer, fake, streamed, steps, told, fault):
    prompt = fake.script(steps)
    detail = refused(customer.ask(prompt, stream=streamed), *told)
    assert "rovider" in detail["message"]
    free(customer, *told, fault, streamed=streamed)
    assert fake.count(prompt) == 1


BROKEN_STREAMS = {
    "headers and silence": ([Head(), Silence()], TIMEOUT, "silent"),
    "a role and silence": (
        [Head(), Event(chunk({"role": "assistant"})), Silence()],
        TIMEOUT,
        "silent",
    ),
    "malformed JSON": (
        [Head(), Bytes(b"data: {broken\n\n"), *stream("x")[1:]],
        UNAVAILABLE,
        "garbled",
    ),
    "malformed chunk": ([Head(), Event({"choices": "x"})], UNAVAILABLE, "garbled"),
    "error object": (
        [Head(), Event({"error": {"message": LEAK}}), Done(), End()],
        UNAVAILABLE,
        "faulty",
    ),
    "huge event": ([Head(), Event(chunk({"content": "x" * 10**6}))], UNAVAILABLE, "garbled"),
    "closed": ([Head(), Close()], UNAVAILABLE, "broken"),
    "ended": ([Head(), End()], UNAVAILABLE, "broken"),
    "only a role": ([Head(), Event(chunk({"role": "assistant"})), End()], UNAVAILABLE, "broken"),
    "a whole answer": (answer(TEXT), UNAVAILABLE, "garbled"),
}


@pytest.mark.parametrize(("steps", "told", "fault"), BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
def test_a_stream_that_does_not_begin(customer, fake, steps, told, fault):
    prompt = fake.script(steps)
    refused(customer.ask(prompt, stream=True), *told)
    free(customer, *told, fault, streamed=True)
    assert fake.count(prompt) == 1


SHORT = Head(200, {"content-type": "application/json", "content-length": "100"})
BROKEN_BODIES = {
    "closed": ([SHORT, RawBytes(b'{"choices'), Close()], UNAVAILABLE, "broken"),
    "reset": ([SHORT, RawBytes(b'{"choices'), Reset()], UNAVAILABLE, "broken"),
    "silent": ([SHORT, RawBytes(b'{"choices'), Silence()], TIMEOUT, "silent"),
    "no choices": (json_answer({"choices": []}), UNAVAILABLE, "garbled"),
    "malformed choices": (json_answer({"choices": ["x"]}), UNAVAILABLE, "garbled"),
    "nested too deeply": (
        raw_json(b'{"choices": [{"x":' + b"[" * 900 + b"]" * 900 + b"}]}"),
        UNAVAILABLE,
        "garbled",
    ),
    "a stream": (stream(TEXT), UNAVAILABLE, "garbled"),
}


@pytest.mark.parametrize(("steps", "told", "fault"), BROKEN_BODIES.values(), ids=BROKEN_BODIES)
def test_a_body_that_is_no_answer(customer, fake, steps, told, fault):
    prompt = fake.script(steps)
    refused(customer.ask(prompt), *told)
    free(customer, *told, fault, streamed=False)
    assert fake.count(prompt) == 1


@contextlib.contextmanager
def deaf_port():
    """A base URL at which attempts to connect are never answered: its queue is full."""
    with socket.socket() as listener, contextlib.ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with contextlib.suppress(TimeoutError):
            while True:
                waiting = queue.enter_context(socket.socket())
                waiting.settimeout(0.3)
                waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@both
def test_a_provider_that_refuses_connections(gateway, fake, streamed):
    live_route("refusing", fake.closed_port())
    customer = Customer(gateway)
    response = customer.ask("Hello", model="refusing", stream=streamed)
    refused(response, *OVERLOADED)
    assert response.headers["Retry-After"] == "2"
    free(customer, *OVERLOADED, "refused")


def test_a_provider_that_does_not_answer_connections(gateway, fake):
    with deaf_port() as base_url:
        live_route("deaf", base_url)
        customer = Customer(gateway)
        refused(customer.ask("Hello", model="deaf"), *OVERLOADED)
    assert free(customer, *OVERLOADED, "refused").attempts[0]["ms"] > 900


@both
@pytest.mark.parametrize(
    ("given", "wait_s"),
    [
        (None, "5"),
        ("7", "7"),
        ("0", "5"),
        ("600", "60"),
        ("9" * 5000, "60"),
        ("1.5", "5"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "5"),
    ],
    ids=["absent", "seconds", "zero", "long", "endless", "fraction", "date"],
)
def test_a_busy_provider_is_told_with_a_time_to_wait(customer, fake, streamed, given, wait_s):
    headers = {"retry-after": given} if given else {}
    response = customer.ask(fake.script(error(429, LEAK, headers=headers)), stream=streamed)
    detail = refused(response, 429, "rate_limit_exceeded")
    assert detail["code"] == "provider_overloaded"
    assert response.headers["Retry-After"] == wait_s
    free(customer, 429, "rate_limit_exceeded", "overloaded")


DECLINED = {
    "400": (error(400, f"Bad schema. {LEAK}"), 400, "invalid_request"),
    "400 of another shape": (
        json_answer({"detail": f"Bad schema. {LEAK}"}, status=400),
        400,
        "invalid_request",
    ),
    "400 as text": (
        json_answer({"error": f"Bad schema. {LEAK}"}, status=400),
        400,
        "invalid_request",
    ),
    "400 inside": (
        json_answer({"error": {"message": f"Bad schema. {LEAK}", "code": 400}}),
        400,
        "invalid_request",
    ),
    "context": (
        error(400, f"Bad schema. {LEAK}", "context_length_exceeded"),
        400,
        "context_length_exceeded",
    ),
    "413": (error(413, f"Bad schema. {LEAK}"), 413, "payload_too_large"),
    "422": (error(422, f"Bad schema. {LEAK}"), 422, "unprocessable"),
    "moderation": (
        error(403, f"Bad schema. {LEAK}", "content_policy_violation"),
        403,
        "permission_denied",
    ),
}


@both
@pytest.mark.parametrize(("steps", "status", "error_type"), DECLINED.values(), ids=DECLINED)
def test_a_request_that_the_provider_declines(customer, fake, streamed, steps, status, error_type):
    detail = refused(customer.ask(fake.script(steps), stream=streamed), status, error_type)
    assert detail["message"].startswith(
        "The provider declined the request: Bad schema. … of … at …"
    )
    free(customer, status, error_type, "declined")


@pytest.mark.parametrize(
    "word",
    ["sk-" + "a1-" * 20000, "a@" * 30000, "_" * 60000, "x" * 60000],
    ids=lambda word: word[:4],
)
def test_a_message_of_any_length_is_searched_at_once(customer, fake, word):
    detail = refused(customer.ask(fake.script(error(400, word))), 400, "invalid_request")
    assert len(detail["message"]) < 400
    free(customer, 400, "invalid_request", "declined")


def test_a_message_about_the_request_itself_is_passed_on(customer, fake):
    said = "Unknown parameter user_id: 'top_q' of model meta-llama-3.1-70b-instruct is at most 1.5."
    detail = refused(customer.ask(fake.script(error(400, said))), 400, "invalid_request")
    assert detail["message"] == f"The provider declined the request: {said}"


# --- In the middle of a stream -------------------------------------------------------------------

MID_STREAM = {
    "malformed JSON": ([Bytes(b"data: {broken\n\n")], UNAVAILABLE, "garbled"),
    "no object": ([Bytes(b"data: 7\n\n")], UNAVAILABLE, "garbled"),
    "malformed chunk": ([Event({"choices": [{"delta": "x"}]})], UNAVAILABLE, "garbled"),
    "nested too deeply": (
        [Bytes(b'data: {"choices": [{"x":' + b"[" * 900 + b"]" * 900 + b"}]}\n\n")],
        UNAVAILABLE,
        "garbled",
    ),
    "huge event": ([Event(chunk({"content": "x" * 10**6}))], UNAVAILABLE, "garbled"),
    "error object": ([Event({"error": {"message": LEAK}})], UNAVAILABLE, "faulty"),
    "503 object": ([Event({"error": {"message": LEAK, "code": 503}})], OVERLOADED, "faulty"),
    "429 object": (
        [Event({"error": {"message": LEAK, "code": 429}})],
        (429, "rate_limit_exceeded"),
        "overloaded",
    ),
    "reset": ([Reset()], UNAVAILABLE, "broken"),
    "closed": ([Close()], UNAVAILABLE, "broken"),
    "ended without a finish reason": ([End()], UNAVAILABLE, "broken"),
    "usage and no end": ([Event(usage_chunk(USAGE)), End()], UNAVAILABLE, "broken"),
    "silence": ([Silence()], TIMEOUT, "silent"),
}


@pytest.mark.parametrize(("steps", "told", "fault"), MID_STREAM.values(), ids=MID_STREAM)
def test_a_stream_that_breaks_off(customer, fake, steps, told, fault):
    prompt = fake.script([Head(), HELLO, WaitFor("the break"), *steps, *stream("more")[1:]])
    events = events_of(customer.ask(prompt, stream=True))
    read_until(events, "Hello ")
    fake.go(prompt, "the break")
    rest = list(events)
    broken_off(rest, *told)
    assert not LEAKED.search(str(rest))
    row = billed(customer, 0, outcome="upstream-failed", status=200, error_type=told[1])
    assert row.attempts[0]["error"] == fault
    assert row.upstream_cost_nano > 0
    assert fake.count(prompt) == 1


def test_a_silent_gap_is_filled_and_a_sign_of_life_is_enough(customer, fake):
    comments = Split(
        BUSY * 30, every=len(BUSY), gap_s=0.05
    )  # 1.5 s, and 1 s of silence is allowed.
    prompt = fake.script(
        [Head(), comments, HELLO, comments, WORLD, STOP, Event(usage_chunk(USAGE)), Done(), End()]
    )
    body = customer.ask(prompt, stream=True).text
    assert "busy" not in body
    assert body.count(": keep-alive\n\n") >= 2
    assert body.endswith("data: [DONE]\n\n")
    billed(customer, PRICE, outcome="finished")


def test_the_idle_timeout_ends_a_silence_in_which_the_client_is_kept_alive(customer, fake):
    prompt = fake.script([Head(), HELLO, Silence()])
    body = customer.ask(prompt, stream=True).text
    assert 1 <= body.count(": keep-alive\n\n") <= 3
    fake.wait_for_hang_up(prompt)
    billed(customer, 0, outcome="upstream-failed", error_type="timeout")


# --- The total timeout ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(django_db_setup, django_db_blocker):
    """A gateway that gives every request 1.5 seconds, in which it may do what it likes."""
    environment = {**PATIENT, "REQUEST_TOTAL_TIMEOUT_S": "1.5"}
    with django_db_blocker.unblock(), Gateway(**environment) as gateway:
        yield gateway


def test_a_stream_that_never_ends_is_ended(scripted, hasty, fake):
    customer = Customer(hasty)
    prompt = fake.script([Head(), Split(ONE * 200, every=len(ONE), gap_s=0.1)])
    broken_off(events_of(customer.ask(prompt, stream=True)), *TIMEOUT)
    fake.wait_for_hang_up(prompt)
    billed(customer, 0, outcome="upstream-failed", status=200, error_type="timeout")


@both
def test_an_answer_that_never_begins_is_given_up(scripted, hasty, fake, streamed):
    customer = Customer(hasty)
    comments = Split(BUSY * 300, every=len(BUSY), gap_s=0.1)
    prompt = fake.script(either([Head(), comments], [Silence()]))
    refused(customer.ask(prompt, stream=streamed), *TIMEOUT)
    fake.wait_for_hang_up(prompt)
    assert free(customer, *TIMEOUT, "silent").latency_ms > 1400
