"""Credit is never spent twice: many requests at once, on two gateway processes."""

from decimal import Decimal

import orjson
import pytest

from billing import pricing
from gateway.commits import reconcile
from gateway.models import ApiRequest
from tests.support.counts import counts
from tests.support.gateway.races import (
    AFFORDABLE,
    MAX_TOKENS,
    REQUESTS,
    ask_all,
    dearest_script,
    most_that_it_costs,
)
from tests.support.live import Customer, eventually


@pytest.mark.parametrize("rounds", counts(1, proof=10, endurance=50))
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
