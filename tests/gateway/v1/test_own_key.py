"""/v1/key: what a key tells of itself."""

import datetime as dt
from decimal import Decimal

import pytest

from accounts.models import ApiKey
from billing.key_caps import set_caps
from billing.models import KeySpend
from tests.support.gateway.key_manager import FIELDS, exactly
from tests.support.live import USD, Customer
from tests.support.provider.scripts import answer


def test_a_key_tells_what_it_is(customer):
    shown = exactly(customer.get("/v1/key"))["data"]
    assert set(shown) == FIELDS
    key = customer.key
    assert shown["hash"] == key.id.hex
    assert shown["label"] == f"{customer.key_text[:9]}…{customer.key_text[-4:]}"
    assert dt.datetime.fromisoformat(shown["created_at"]) == key.created_at
    assert (shown["limit"], shown["limit_remaining"], shown["limit_reset"]) == (None, None, None)
    assert shown["caps"] == {"total": None, "day": None, "week": None, "month": None}
    assert (shown["allowed_models"], shown["allowed_networks"]) == (None, None)
    assert shown["rate_limit"] == {"requests": 30, "interval": "1m"}
    assert (shown["retention_days"], shown["is_management"]) == (90, False)
    assert key.digest not in customer.get("/v1/key").text


@pytest.mark.usefixtures("within_a_day")
def test_usage_and_what_is_left_are_exact(customer, fake):
    set_caps(customer.key, {"total": USD, "week": 3_000_001})
    token = fake.script(answer("Hello", prompt_tokens=7, completion_tokens=3))
    customer.ask(token)
    cost = customer.settled_request().cost_nano
    shown = exactly(customer.get("/v1/key"))["data"]
    for name in ("usage", "usage_daily", "usage_weekly", "usage_monthly"):
        assert shown[name] * USD == cost == 7 * 100 + 3 * 400
    assert shown["limit"] == Decimal("0.003000001")
    assert (shown["limit_remaining"] * USD, shown["limit_reset"]) == (3_000_001 - cost, "weekly")


def test_what_was_spent_in_an_earlier_period_counts_no_more(customer):
    long_ago = dt.date(2020, 1, 1)
    KeySpend.objects.create(
        key=customer.key,
        **{"day": long_ago, "week": long_ago, "month": long_ago, "day_cap_nano": 50},
        **{"total_nano": 40, "day_nano": 30, "week_nano": 40, "month_nano": 40},
    )
    shown = exactly(customer.get("/v1/key"))["data"]
    assert shown["usage"] * USD == 40
    assert {shown[f"usage_{name}"] for name in ("daily", "weekly", "monthly")} == {0}
    assert shown["limit_remaining"] * USD == 50


def test_the_rate_shown_is_the_tighter_of_key_and_account(customer, gateway):
    ApiKey.objects.filter(pk=customer.key.pk).update(requests_per_minute=7)
    assert customer.get("/v1/key").json()["data"]["rate_limit"]["requests"] == 7
    unlimited = Customer(gateway, unlimited=True)
    assert unlimited.get("/v1/key").json()["data"]["rate_limit"]["requests"] is None
