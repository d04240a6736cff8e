"""A key never spends more than its cap, however many ask at once and whoever changes it."""

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from django.db import connections

from billing.key_caps import CAPS, set_caps
from billing.models import KeySpend
from gateway.commits import reconcile
from gateway.models import ApiRequest
from tests.support.counts import counts
from tests.support.gateway.races import (
    AFFORDABLE,
    REQUESTS,
    ask_all,
    dearest_script,
    most_that_it_costs,
)
from tests.support.live import Customer, eventually
from tests.support.provider.scripts import answer

CHANGES = 40

pytestmark = pytest.mark.usefixtures("within_a_day")


@pytest.mark.parametrize("period", CAPS)
@pytest.mark.parametrize("rounds", counts(1, proof=3, endurance=10))
def test_a_cap_for_exactly_10_answers_10_of_200_at_once(gateways, fake, period, rounds):
    for _ in range(rounds):
        race(gateways, fake, period)


def race(gateways, fake, period: str) -> None:
    hold_nano, prompt_tokens = most_that_it_costs()
    token = dearest_script(fake, prompt_tokens)
    customer = Customer(gateways[0], balance_nano=REQUESTS * hold_nano, unlimited=True)
    set_caps(customer.key, {period: AFFORDABLE * hold_nano})

    answers, _ = ask_all(gateways, customer, token)

    assert [status for status, _ in answers].count(200) == AFFORDABLE
    refusals = [orjson.loads(text)["error"] for status, text in answers if status == 402]
    assert len(refusals) == REQUESTS - AFFORDABLE
    assert {error["code"] for error in refusals} == {"key_limit_reached"}

    rows = eventually(customer.requests, lambda rows: len(rows) >= REQUESTS)
    assert len(rows) == REQUESTS
    charged = [row for row in rows if row.outcome == ApiRequest.Outcome.FINISHED]
    assert len(charged) == AFFORDABLE == len(customer.usage_entries())
    spend = KeySpend.objects.get(key=customer.key)
    spent_nano = sum(row.cost_nano for row in charged)
    assert {getattr(spend, f"{one}_nano") for one in CAPS} == {spent_nano}
    assert spent_nano <= AFFORDABLE * hold_nano
    assert (spend.held_nano, customer.held_nano()) == (0, 0)
    assert list(reconcile.differences(customer.account.id)) == []


def test_caps_that_are_set_while_the_first_requests_run_lose_no_spend(gateways, fake):
    """Either may make the row of the key's spend; neither may overwrite the other's part."""
    token = fake.script(answer("Hello."))
    customer = Customer(gateways[0], unlimited=True)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(customer.ask, token, max_tokens=5) for _ in range(CHANGES)]
        changed = [threads.submit(change_caps, customer, number) for number in range(CHANGES)]
    assert {one.result().status_code for one in asked} == {200}
    for one in changed:
        one.result()
    rows = eventually(customer.requests, lambda rows: len(rows) == CHANGES)
    eventually(lambda: not customer.holds())
    change_caps(customer, CHANGES)
    spend = KeySpend.objects.get(key=customer.key)
    assert spend.total_nano == spend.day_nano == sum(row.cost_nano for row in rows)
    assert (spend.total_cap_nano, spend.week_cap_nano) == (10**12 + CHANGES, None)
    assert spend.held_nano == 0
    assert list(reconcile.differences(customer.account.id)) == []


def change_caps(customer: Customer, number: int) -> None:
    try:
        set_caps(customer.key, {"total": 10**12 + number, "week": None})
    finally:
        connections.close_all()
