"""Credit is never spent twice: many requests at once, on two gateway processes."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import aiohttp
import orjson
import pytest

from billing import pricing
from gateway import chat_request, reconcile, reservation, routing
from gateway.models import ApiRequest
from tests.live import PATIENT, Customer, Gateway, eventually
from tests.provider_scripts import answer, either, stream, usage_of

REQUESTS = 200
AFFORDABLE = 10
MAX_TOKENS = 20
SLOWEST_S = 60


@pytest.fixture(scope="module")
def _two_processes(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), Gateway(**PATIENT) as one, Gateway(**PATIENT) as other:
        yield one, other


@pytest.fixture
def gateways(committed, scripted, _two_processes):
    return _two_processes


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.proof)])
def test_credit_for_exactly_10_answers_10_of_200_at_once(gateways, fake, rounds):
    for _ in range(rounds):
        race(gateways, fake)


def race(gateways, fake) -> None:
    hold_nano, prompt_tokens = most_that_it_costs()
    token = dearest_script(fake, prompt_tokens)
    customer = Customer(gateways[0], balance_nano=AFFORDABLE * hold_nano, unlimited=True)

    answers, books = ask_all(gateways, customer, token)

    assert [status for status, _ in answers].count(200) == AFFORDABLE
    assert [status for status, _ in answers].count(402) == REQUESTS - AFFORDABLE
    for status, text in answers:
        if status == 402:
            check_refusal(text, hold_nano)
        else:
            assert cost_nano(text) == hold_nano - 1  # The one that rounding may add.
    assert all(0 <= held <= balance for balance, held in books)
    check_books(customer, hold_nano - 1)


def body_of(token: str, *, streamed: bool) -> dict:
    body = {
        "model": "scripted",
        "messages": [{"role": "user", "content": token}],
        "max_tokens": MAX_TOKENS,
    }
    wants_usage = {"stream": True, "stream_options": {"include_usage": True}}
    return {**body, **wants_usage} if streamed else body


def most_that_it_costs() -> tuple[int, int]:
    """The hold of one request in nano-dollars, and the prompt tokens that it is made for."""
    entry = routing.read_catalogue()["scripted"]
    bounds = set()
    for streamed in (True, False):
        chat = chat_request.parse(body_of("script:" + 16 * "0", streamed=streamed))
        ask = reservation.ask_for(chat, entry.candidates)
        size = reservation.PromptSize.of(chat, entry.candidates[0])
        bounds.add((ask.amount(MAX_TOKENS), size.bound))
    (bound,) = bounds
    return bound


def dearest_script(fake, prompt_tokens: int) -> str:
    """An answer that costs all that is held for it."""
    pieces = ["word "] * MAX_TOKENS
    plain = answer("".join(pieces), prompt_tokens=prompt_tokens, completion_tokens=MAX_TOKENS)
    usage = usage_of(prompt_tokens, MAX_TOKENS)
    return fake.script(either(stream(pieces, usage=usage), plain))


def ask_all(gateways, customer, token) -> tuple[list[tuple[int, str]], list[tuple[int, int]]]:
    """Status and text of each answer; and (balance, held) as they were seen meanwhile."""
    books = []
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(asyncio.run, _ask_all(gateways, customer, token))
        while not asking.done():
            customer.account.refresh_from_db()
            books.append((customer.account.balance_nano, customer.account.held_nano))
    return asking.result(), books


async def _ask_all(gateways, customer, token) -> list[tuple[int, str]]:
    async def ask(number: int) -> tuple[int, str]:
        url = f"{gateways[number % 2].url}/v1/chat/completions"
        body = body_of(token, streamed=number // 2 % 2 == 0)
        async with session.post(url, json=body) as response:
            return response.status, await response.text()

    timeout = aiohttp.ClientTimeout(SLOWEST_S)
    async with aiohttp.ClientSession(
        headers=customer.headers, connector=aiohttp.TCPConnector(limit=0), timeout=timeout
    ) as session:
        return await asyncio.gather(*map(ask, range(REQUESTS)))


def cost_nano(text: str) -> int:
    """What an answer states that it costs; a stream must have its end."""
    if text.startswith("data: "):
        *_, last, done, nothing = text.split("\n\n")
        assert (done, nothing) == ("data: [DONE]", "")
        text = last.removeprefix("data: ")
    return pricing.nano(f"{orjson.loads(text)['usage']['cost']:.9f}")


def check_refusal(text: str, hold_nano: int) -> None:
    error = orjson.loads(text)["error"]
    told = error["metadata"]
    assert error["code"] == "insufficient_credits"
    assert round(Decimal(str(told["required"])) * pricing.NANO_PER_USD) == hold_nano
    assert 0 <= told["available"] < told["required"]
    assert 0 <= told["affordable_max_tokens"] < MAX_TOKENS


def check_books(customer: Customer, cost_nano: int) -> None:
    rows = eventually(customer.requests, lambda rows: len(rows) >= REQUESTS)
    outcomes = [row.outcome for row in rows]
    assert len(rows) == REQUESTS
    assert outcomes.count(ApiRequest.Outcome.FINISHED) == AFFORDABLE
    assert outcomes.count(ApiRequest.Outcome.REFUSED) == REQUESTS - AFFORDABLE
    entries = customer.usage_entries()
    assert [entry.amount_nano for entry in entries] == [-cost_nano] * AFFORDABLE
    assert {entry.request_id for entry in entries} == {row.id for row in rows if row.cost_nano}
    assert customer.held_nano() == 0
    assert not customer.holds()
    assert customer.balance_nano() == AFFORDABLE  # One nano-dollar of each hold came back.
    assert list(reconcile.differences(customer.account.id)) == []
