"""How a provider can fail, over real HTTP: what the client is told, and that it costs nothing."""

import pytest

from gateway.failures import Garbled
from gateway.providers.upstream import parse
from tests.gateway.conftest import live_route
from tests.support.gateway.faults import (
    AT_ONCE,
    BROKEN_BODIES,
    BROKEN_STREAMS,
    DECLINED,
    MID_STREAM,
    cases,
    deaf_port,
    impatient,
    less_impatient,
)
from tests.support.gateway.receipts import (
    HELLO,
    LEAK,
    LEAKED,
    OVERLOADED,
    PRICE,
    STOP,
    TIMEOUT,
    USAGE,
    WORLD,
    billed,
    both,
    broken_off,
    events_of,
    free,
    read_until,
    refused,
    text_of,
)
from tests.support.live import KEPT_ALIVE, Customer
from tests.support.provider.scripts import (
    Bytes,
    Done,
    End,
    Event,
    Head,
    Pause,
    Silence,
    Split,
    WaitFor,
    chunk,
    either,
    error,
    stream,
    usage_chunk,
)

BUSY = b": busy\n\n"
ONE = Event(chunk({"content": "x"})).data


# --- Before the first byte -----------------------------------------------------------------------


@both
@pytest.mark.parametrize(("steps", "told", "fault"), cases(AT_ONCE))
def test_a_provider_that_does_not_answer(customer, fake, streamed, steps, told, fault):
    prompt = fake.script(steps)
    detail = refused(customer.ask(prompt, stream=streamed), *told)
    assert "rovider" in detail["message"]
    free(customer, *told, fault, streamed=streamed)
    assert fake.count(prompt) == 1


@pytest.mark.parametrize(("steps", "told", "fault"), cases(BROKEN_STREAMS))
def test_a_stream_that_does_not_begin(customer, fake, steps, told, fault):
    prompt = fake.script(steps)
    refused(customer.ask(prompt, stream=True), *told)
    free(customer, *told, fault, streamed=True)
    assert fake.count(prompt) == 1


@pytest.mark.parametrize(("steps", "told", "fault"), cases(BROKEN_BODIES))
def test_a_body_that_is_no_answer(customer, fake, steps, told, fault):
    prompt = fake.script(steps)
    refused(customer.ask(prompt), *told)
    free(customer, *told, fault, streamed=False)
    assert fake.count(prompt) == 1


@both
def test_a_provider_that_refuses_connections(gateway, fake, streamed):
    live_route("refusing", fake.closed_port())
    customer = Customer(gateway)
    response = customer.ask("Hello", model="refusing", stream=streamed)
    refused(response, *OVERLOADED)
    assert response.headers["Retry-After"] == "2"
    free(customer, *OVERLOADED, "refused")


@impatient
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
        ("1.5", "2"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "5"),  # By no clock of the provider's.
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


@both
@pytest.mark.parametrize(("steps", "status", "error_type"), DECLINED.values(), ids=DECLINED)
def test_a_request_that_the_provider_declines(customer, fake, streamed, steps, status, error_type):
    detail = refused(customer.ask(fake.script(steps), stream=streamed), status, error_type)
    said = "The provider declined the request: Bad schema. … of … at …"
    assert detail["message"].removeprefix("The prompt is too long. ").startswith(said)
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


@pytest.mark.parametrize(("steps", "told", "fault"), cases(MID_STREAM))
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


@less_impatient
def test_a_silent_gap_is_filled_and_a_sign_of_life_is_enough(customer, fake):
    # For 5 s, and 4 s of silence are allowed.
    comments = Split(BUSY * 100, every=len(BUSY), gap_s=0.05)
    prompt = fake.script(
        [Head(), comments, HELLO, comments, WORLD, STOP, Event(usage_chunk(USAGE)), Done(), End()]
    )
    body = customer.ask(prompt, stream=True).text
    assert "busy" not in body
    assert body.count(": keep-alive\n\n") >= 2
    assert body.endswith("data: [DONE]\n\n")
    billed(customer, PRICE, outcome="finished")


@pytest.mark.gateway_with(**KEPT_ALIVE)
def test_a_provider_that_says_nothing_with_many_words_is_a_silent_gap_too(customer, fake):
    nothing = {**chunk({}), "choices": []}
    saying_nothing = [step for _ in range(40) for step in (Pause(0.1), Event(nothing))]
    prompt = fake.script([Head(), HELLO, *saying_nothing, WORLD, STOP, Done(), End()])
    body = customer.ask(prompt, stream=True).text
    assert body.count(": keep-alive\n\n") >= 2


@less_impatient
def test_the_idle_timeout_ends_a_silence_in_which_the_client_is_kept_alive(customer, fake):
    prompt = fake.script([Head(), HELLO, Silence()])
    body = customer.ask(prompt, stream=True).text
    assert 1 <= body.count(": keep-alive\n\n") <= 13  # One each 0.3 s of 4 s.
    fake.wait_for_hang_up(prompt)
    billed(customer, 0, outcome="upstream-failed", error_type="timeout")


# --- The total timeout ---------------------------------------------------------------------------


hasty = pytest.mark.gateway_with(REQUEST_TOTAL_TIMEOUT_S="3")


@hasty
def test_a_stream_that_never_ends_is_ended(customer, fake):
    prompt = fake.script([Head(), Split(ONE * 200, every=len(ONE), gap_s=0.1)])
    broken_off(events_of(customer.ask(prompt, stream=True)), *TIMEOUT)
    fake.wait_for_hang_up(prompt)
    billed(customer, 0, outcome="upstream-failed", status=200, error_type="timeout")


@both
@hasty
def test_an_answer_that_never_begins_is_given_up(customer, fake, streamed):
    comments = Split(BUSY * 300, every=len(BUSY), gap_s=0.1)
    prompt = fake.script(either([Head(), comments], [Silence()]))
    refused(customer.ask(prompt, stream=streamed), *TIMEOUT)
    fake.wait_for_hang_up(prompt)
    assert free(customer, *TIMEOUT, "silent").latency_ms > 2900


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"\uDE00x", "\ufffdx"),
        (rb"\ud83d\ude00 \ud83d", "😀 \ufffd"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\\ud83d \\\ud83d", "\\ud83d \\\ufffd"),
    ],
)
def test_half_a_character_does_not_break_an_answer(sent, read):
    assert parse(b'{"said":"' + sent + b'"}') == {"said": read}
    with pytest.raises(Garbled):
        parse(b'{"said":"' + sent)


def test_an_emoji_that_a_provider_cut_is_no_failure(customer, fake):
    halves = [rb"Oslo \ud83d", rb"\ude00"]
    events = [Bytes(b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % one) for one in halves]
    prompt = fake.script([Head(), *events, STOP, Event(usage_chunk(USAGE)), Done(), End()])
    events_told = list(events_of(customer.ask(prompt, stream=True)))
    assert text_of(events_told[:-1]) == "Oslo \ufffd\ufffd"
    billed(customer, PRICE, outcome="finished")
