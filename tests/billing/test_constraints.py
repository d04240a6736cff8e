"""What the database refuses by itself, whatever the code above it does."""

import datetime as dt

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import User
from billing.key_spend import period_starts
from billing.models import CreditAccount, Hold, KeySpend, LedgerEntry, PriceVersion
from tests.support.factories import cap_key, make_account, make_key, make_price, make_user

pytestmark = pytest.mark.usefixtures("books")
Kind = LedgerEntry.Kind


def refused(constraint: str):
    return pytest.raises(IntegrityError, match=constraint)


def post(account, **fields):
    fields = {"kind": Kind.ADJUSTMENT, "amount_nano": 1, "idempotency_key": uuid7().hex, **fields}
    with transaction.atomic():
        return LedgerEntry.objects.create(account=account, **fields)


@pytest.mark.parametrize("column", ["balance_nano", "held_nano", "owed_nano", "purchased_nano"])
def test_no_amount_of_an_account_is_negative(column):
    account = make_account(balance_nano=10)
    with refused("amounts_are_not_negative|balance_covers"), transaction.atomic():
        CreditAccount.objects.filter(pk=account.pk).update(**{column: -1})


def test_the_balance_covers_what_is_held():
    account = make_account(balance_nano=10)
    CreditAccount.objects.filter(pk=account.pk).update(held_nano=10)
    with refused("balance_covers_what_is_held"), transaction.atomic():
        CreditAccount.objects.filter(pk=account.pk).update(held_nano=11)
    with refused("balance_covers_what_is_held"), transaction.atomic():
        CreditAccount.objects.filter(pk=account.pk).update(balance_nano=9)


def test_an_account_has_a_tier_that_exists():
    account = make_account(tier=4)
    with refused("tier_exists"), transaction.atomic():
        CreditAccount.objects.filter(pk=account.pk).update(tier=5)


def test_a_person_has_one_account():
    account = make_account()
    with pytest.raises(IntegrityError), transaction.atomic():
        CreditAccount.objects.create(user=account.user)


def test_accounts_without_a_person_are_many():
    CreditAccount.objects.create(user=None)
    CreditAccount.objects.create(user=None)


def test_a_person_with_an_account_cannot_be_deleted():
    account = make_account()
    with pytest.raises(ProtectedError):
        account.user.delete()


@pytest.mark.parametrize(
    "column", ["input_nano", "cached_input_nano", "output_nano", "request_nano", "image_nano"]
)
def test_no_price_is_negative(column):
    prices = {"input_nano": 0, "cached_input_nano": 0, "output_nano": 0, column: -1}
    with refused("price_is_not_negative"), transaction.atomic():
        PriceVersion.objects.create(**prices)


def test_no_hold_is_negative():
    hold = {"account": make_account(), "price_version": make_price(), "created_at": timezone.now()}
    Hold.objects.create(id=uuid7(), amount_nano=0, deadline=timezone.now(), **hold)
    with refused("hold_is_not_negative"), transaction.atomic():
        Hold.objects.create(id=uuid7(), amount_nano=-1, deadline=timezone.now(), **hold)


def test_an_entry_moves_something():
    with refused("entry_moves_something"):
        post(make_account(), amount_nano=0)


def test_an_idempotency_key_is_used_once_among_all_accounts():
    post(make_account(), idempotency_key="purchase:pi_1")
    with refused("idempotency_key"):
        post(make_account(), idempotency_key="purchase:pi_1")


def test_a_request_is_charged_once():
    request_id = uuid7()
    usage = {"kind": Kind.USAGE, "amount_nano": -1, "request_id": request_id}
    post(make_account(), **usage)
    with refused("request_id"):
        post(make_account(), **usage)


def test_usage_names_its_request_and_nothing_else_does():
    with refused("usage_names_its_request"):
        post(make_account(), kind=Kind.USAGE, amount_nano=-1)
    with refused("usage_names_its_request"):
        post(make_account(), kind=Kind.REFUND, amount_nano=-1, request_id=uuid7())


@pytest.mark.parametrize(
    "kind", [Kind.REVERSAL, Kind.SIGNUP, Kind.PURCHASE, Kind.DISPUTE_WON, Kind.REFERRAL]
)
def test_a_gain_is_positive(kind):
    post(make_account(), kind=kind, amount_nano=1)
    with refused("gain_is_positive"):
        post(make_account(), kind=kind, amount_nano=-1)


@pytest.mark.parametrize(
    "kind", [Kind.USAGE, Kind.REFUND, Kind.DISPUTE, Kind.WRITE_OFF, Kind.BREAKAGE]
)
def test_a_loss_is_negative(kind):
    request_id = uuid7() if kind == Kind.USAGE else None
    with refused("loss_is_negative"):
        post(make_account(), kind=kind, amount_nano=1, request_id=request_id)
    post(make_account(), kind=kind, amount_nano=-1, request_id=request_id)


@pytest.mark.parametrize(
    "column", ["held_nano", "total_nano", "day_nano", "week_nano", "month_nano"]
)
def test_no_spend_of_a_key_is_negative(column):
    key, _ = make_key(make_user())
    with refused("spend_is_not_negative"), transaction.atomic():
        KeySpend.objects.create(key=key, **period_starts(dt.date(2026, 11, 24)), **{column: -1})


def test_a_key_with_spend_cannot_be_deleted():
    key, _ = make_key(make_user())
    cap_key(key, day_cap_nano=5)
    with pytest.raises(ProtectedError):
        key.delete()


def test_an_address_is_lower_case_and_used_once():
    make_user("dora@example.org")
    for address in ("dora@example.org", "Dora@example.org"):
        with pytest.raises(IntegrityError), transaction.atomic():
            User.objects.create(email=address)
