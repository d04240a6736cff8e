"""The table of endings, row by row, over real HTTP: what the client gets, what the provider sees,
and what becomes of the money. How answers that finish are counted is told in `test_usage`.
"""

import asyncio
import contextlib
import datetime as dt
import http.client
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from django.db import transaction
from django.utils import timezone

from billing.models import CreditAccount
from gateway.analytics.tally import error_class
from gateway.commits.sweeper import sweep
from tests.gateway.conftest import live_route
from tests.support.gateway.faults import VLLM_ERROR
from tests.support.gateway.in_process import served
from tests.support.gateway.receipts import (
    END,
    GOOD,
    HELLO,
    INPUT,
    OUTPUT,
    STOP,
    TEXT,
    WORLD,
    billed,
    both,
    broken_off,
    estimate,
    events_of,
    finished,
    posted,
    read_until,
)
from tests.support.live import Customer, Gateway, eventually
from tests.support.provider.scripts import (
    Close,
    Event,
    Head,
    Reset,
    Split,
    WaitFor,
    answer,
    chunk,
    error,
    usage_chunk,
    usage_of,
)

LATER = dt.timedelta(days=1)


@contextlib.contextmanager
def locked(customer: Customer) -> Iterator[None]:
    """Somebody else is writing the books of this customer (on SQLite: anybody's)."""
    with transaction.atomic():
        CreditAccount.objects.select_for_update().get(pk=customer.account.pk)
        yield


# --- The client is gone --------------------------------------------------------------------------


def hang_up(client: requests.Response | http.client.HTTPConnection, gateway: Gateway) -> None:
    """Close a connection, and wait until the gateway knows."""
    connection = client.raw.connection if isinstance(client, requests.Response) else client
    _, port = connection.sock.getsockname()
    ends = re.compile(rf":{gateway.port:04X} \w+:{port:04X} (?!06)")  # 06: TIME_WAIT
    assert ends.search(Path("/proc/net/tcp").read_text())
    client.close()
    eventually(lambda: not ends.search(Path("/proc/net/tcp").read_text()))


def test_a_provider_that_stops_billing_is_hung_up_on(customer, fake):
    prompt = fake.script([Head(), HELLO, WaitFor("the hang-up"), WORLD, STOP, *END])
    response = customer.ask(prompt, stream=True)
    read_until(events_of(response), "Hello ")
    response.close()
    fake.wait_for_hang_up(prompt)
    prompt_tokens, completion = estimate(prompt, 6)
    nano = prompt_tokens * INPUT + completion * OUTPUT
    billed(
        customer,
        nano,
        outcome="client-gone",
        status=200,
        estimated=True,
        completion_tokens=2,
        upstream_cost_nano=nano,
    )


def test_a_provider_that_bills_on_is_read_to_its_end(gateway, fake):
    live_route("drained", fake.base_url, stops_billing_on_cancel=False)
    customer = Customer(gateway)
    prompt = fake.script(
        [Head(), HELLO, WaitFor("the rest"), WORLD, STOP, Event(usage_chunk(usage_of(10, 4))), *END]
    )
    response = customer.ask(prompt, stream=True, model="drained")
    events = events_of(response)
    read_until(events, "Hello ")
    hang_up(response, gateway)
    fake.go(prompt, "the rest")
    assert fake.wait_for_finish(prompt).hung_up_at is None
    billed(
        customer,
        10 * INPUT + 2 * OUTPUT,  # ⌊4 × 6 / 11⌋ tokens of output
        outcome="client-gone",
        completion_tokens=2,
        estimated=False,
        upstream_cost_nano=10 * INPUT + 4 * OUTPUT,
    )


@pytest.mark.gateway_with(DRAIN_AFTER_HANG_UP_S="2")
def test_reading_to_the_end_has_an_end(gateway, fake):
    live_route("drained", fake.base_url, stops_billing_on_cancel=False)
    customer = Customer(gateway)
    comments = Split(b": busy\n" * 300, every=7, gap_s=0.05)
    prompt = fake.script([Head(), HELLO, comments, WORLD, STOP, *END])
    response = customer.ask(prompt, stream=True, model="drained")
    read_until(events_of(response), "Hello ")
    response.close()
    fake.wait_for_hang_up(prompt)
    prompt_tokens, completion = estimate(prompt, 6)
    nano = prompt_tokens * INPUT + completion * OUTPUT
    billed(customer, nano, outcome="client-gone", estimated=True, upstream_cost_nano=nano)


@both
@pytest.mark.parametrize("head", [[], [Head()]], ids=["silent", "headers"])
def test_a_client_that_is_gone_before_the_first_byte_pays_nothing(customer, fake, streamed, head):
    prompt = fake.script([*head, WaitFor("the hang-up")])
    with posted(customer, prompt, stream=streamed):
        fake.wait_for_calls(prompt)
    fake.wait_for_hang_up(prompt)
    billed(customer, 0, outcome="client-gone", status=499, upstream_cost_nano=None)


def test_a_whole_answer_that_nobody_waited_for_costs_only_us(gateway, fake):
    live_route("drained", fake.base_url, stops_billing_on_cancel=False)
    customer = Customer(gateway)
    prompt = fake.script([WaitFor("the hang-up"), *answer(TEXT)])
    with posted(customer, prompt, model="drained") as connection:
        fake.wait_for_calls(prompt)
        hang_up(connection, gateway)
    fake.go(prompt, "the hang-up")
    assert fake.wait_for_finish(prompt).hung_up_at is None
    billed(
        customer,
        0,
        outcome="client-gone",
        completion_tokens=0,
        upstream_cost_nano=10 * INPUT + 5 * OUTPUT,
    )


# --- The provider fails --------------------------------------------------------------------------

FAILURE = Event({"error": {"message": "The GPU of org-1 burns", "code": 500}})
BREAKS = {
    "reset": ([Reset()], 502, "provider_unavailable"),
    "closed": ([Close()], 502, "provider_unavailable"),
    "error object": ([FAILURE, *END], 502, "provider_unavailable"),
    "object error": ([Event(VLLM_ERROR), *END], 502, "provider_unavailable"),
    "given up": ([Event(chunk({}, finish_reason="error")), *END], 502, "provider_unavailable"),
}


@pytest.mark.parametrize(("steps", "status", "error_type"), BREAKS.values(), ids=BREAKS)
def test_a_broken_answer_is_free(customer, fake, steps, status, error_type):
    prompt = fake.script([Head(), HELLO, WaitFor("the break"), *steps])
    events = events_of(customer.ask(prompt, stream=True))
    read_until(events, "Hello ")
    fake.go(prompt, "the break")
    broken_off(events, status, error_type)
    prompt_tokens, completion = estimate(prompt, 6)
    row = billed(customer, 0, outcome="upstream-failed", status=200, error_type=error_type)
    assert row.upstream_cost_nano == prompt_tokens * INPUT + completion * OUTPUT


@both
@pytest.mark.parametrize(
    ("status", "seen"), [(400, 400), (403, 502), (429, 429), (500, 502), (503, 503)]
)
def test_an_error_of_the_provider_is_free(customer, fake, streamed, status, seen):
    response = customer.ask(fake.script(error(status)), stream=streamed)
    assert response.status_code == seen
    assert response.json()["error"]["message"]
    row = billed(customer, 0, outcome="upstream-failed", status=seen, prompt_tokens=0)
    assert (row.upstream_cost_nano, row.estimated) == (None, False)


def test_a_refusal_by_moderation_is_free(customer, fake):
    refusal = error(403, "Flagged.", "moderation_blocked")
    assert customer.ask(fake.script(refusal)).status_code == 403
    billed(customer, 0, outcome="upstream-failed", status=403, error_type="permission_denied")


# --- Kyma fails ----------------------------------------------------------------------------------

gives_up_settling = pytest.mark.gateway_with(SETTLE_TIMEOUT_S="1.5")


@gives_up_settling
def test_a_stream_that_cannot_be_settled_has_no_end_and_costs_nothing(customer, fake):
    prompt = fake.script([Head(), HELLO, WaitFor("the lock"), STOP, *END])
    events = events_of(customer.ask(prompt, stream=True))
    read_until(events, "Hello ")
    with locked(customer):
        fake.go(prompt, "the lock")
        broken_off(events, 500, "server")
    nothing_comes_of_it(customer, fake)


@gives_up_settling
def test_an_answer_that_cannot_be_settled_lacks_its_end_and_costs_nothing(customer, fake):
    prompt = fake.script([WaitFor("the lock"), *answer(TEXT)])
    with posted(customer, prompt) as connection:
        fake.wait_for_calls(prompt)
        with locked(customer):
            fake.go(prompt, "the lock")
            with pytest.raises(http.client.IncompleteRead):
                connection.getresponse().read()
    nothing_comes_of_it(customer, fake)


def nothing_comes_of_it(customer: Customer, fake) -> None:
    """The books can be written again: it is logged as lost, and its hold is closed."""
    next_one = Customer(customer.gateway)
    finished(next_one, False, fake.script(answer(TEXT)))  # So the writer is past the lock.
    billed(customer, 0, outcome="lost", status=200, error_type="server")


def test_an_answer_whose_hold_was_swept_has_no_end_and_costs_nothing(customer, fake):
    prompt = fake.script([Head(), HELLO, WaitFor("the sweep"), WORLD, STOP, *END])
    events = events_of(customer.ask(prompt, stream=True))
    read_until(events, "Hello ")
    sweep(now=timezone.now() + LATER)
    fake.go(prompt, "the sweep")
    broken_off(events, 500, "server")
    assert f"HoldClosed('{customer.requests()[0].id.hex}')" in customer.gateway.log.read_text()
    billed(customer, 0, outcome="lost", status=0)


def test_a_killed_process_leaves_a_hold_that_is_swept(scripted, fake):
    with Gateway() as gateway:
        customer = Customer(gateway)
        prompt = fake.script([Head(), HELLO, WaitFor("the kill"), WORLD, STOP, *END])
        events = events_of(customer.ask(prompt, stream=True))
        read_until(events, "Hello ")
        gateway.kill()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(events)
    fake.wait_for_hang_up(prompt)
    (hold,) = customer.holds()
    assert customer.held_nano() == hold.amount_nano
    sweep()
    assert customer.holds() == [hold]
    sweep(now=hold.deadline + dt.timedelta(seconds=1))
    row = billed(customer, 0, outcome="lost", status=0)
    assert (row.id, row.error_type) == (hold.id, "server")


# --- What no real process can be made to do on demand --------------------------------------------


def test_a_fault_of_ours_costs_nothing(customer, fake):
    def fail(_: asyncio.Queue) -> None:
        raise RuntimeError("a fault")

    prompt = fake.script([Head(), HELLO, WORLD, WaitFor("the hang-up"), STOP, *END])
    asyncio.run(served(customer, prompt, when_sent(b"World", fail)))
    fake.wait_for_hang_up(prompt)
    billed(customer, 0, outcome="kyma-failed", status=200, error_type="server")


@pytest.mark.parametrize(
    "place", ["completions.read", "completions.limits.admit", "completions.Identity.__init__"]
)
@both
def test_a_fault_of_ours_before_the_answer_is_told_as_ours(
    customer, fake, monkeypatch, place, streamed
):
    def fail(*_, **__):
        raise RuntimeError("a fault")

    monkeypatch.setattr(f"gateway.serving.{place}", fail)
    sent: list[dict] = []
    prompt = fake.script(GOOD)
    asyncio.run(served(customer, prompt, lambda one, _: sent.append(one), stream=streamed))
    assert sent[0]["status"] == 500
    row = billed(customer, 0, outcome="kyma-failed", status=500, error_type="server")
    assert error_class(row.outcome, row.status) == "kyma"


def test_what_is_sent_to_a_client_that_has_just_left_is_not_delivered(customer, fake):
    prompt = fake.script([Head(), HELLO, WaitFor("the hang-up"), WORLD, STOP, *END])
    asyncio.run(served(customer, prompt, when_sent(b"Hello", leave)))
    fake.wait_for_hang_up(prompt)
    billed(customer, 0, outcome="client-gone", status=200)


def test_a_whole_answer_whose_price_was_told_is_free_if_it_is_not_delivered(customer, fake):
    prompt = fake.script(answer(TEXT, prompt_tokens=10, completion_tokens=5))
    asyncio.run(served(customer, prompt, when_sent(b"Oslo", leave), stream=False))
    billed(
        customer,
        0,
        outcome="client-gone",
        status=200,
        prompt_tokens=0,
        completion_tokens=0,
        upstream_cost_nano=10 * INPUT + 5 * OUTPUT,
    )


def leave(arriving: asyncio.Queue) -> None:
    arriving.put_nowait({"type": "http.disconnect"})


def when_sent(
    content: bytes, happens: Callable[[asyncio.Queue], None]
) -> Callable[[dict, asyncio.Queue], None]:
    """When `content` is to be sent, something else happens."""

    def sent(message: dict, arriving: asyncio.Queue) -> None:
        if content in message.get("body", b""):
            happens(arriving)

    return sent
