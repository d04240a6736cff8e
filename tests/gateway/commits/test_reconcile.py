"""Right books pass; whatever is tampered with, below all triggers, is found."""

import dataclasses
import datetime as dt
import io
import re
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.ids import uuid7
from billing import ledger
from billing.accounts import give_signup_credit
from billing.models import CreditAccount, Hold, KeySpend, LedgerEntry
from gateway.commits import reconcile, sweeper
from gateway.commits.now import commit_now
from gateway.commits.operations import Log, undo
from gateway.models import ApiRequest
from tests.support.append_only import lifted
from tests.support.factories import (
    cap_key,
    make_account,
    make_ask,
    make_key,
    make_price,
    make_record,
    make_reserve,
    make_settle,
)

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def account(books):
    """An account that bought, spent with and without a key, and has a request running."""
    account = make_account(balance_nano=100_000)
    give_signup_credit(account.user)
    price, key = make_price(), make_key(account.user)[0]
    finished, spent, failed, running = (
        make_reserve(account, price, make_ask(1000), key=key, now=NOW) for _ in range(4)
    )
    lost = make_reserve(account, price, make_ask(1000), now=NOW - dt.timedelta(hours=1))
    refused = make_record(make_reserve(account, price, make_ask(), now=NOW), outcome="refused")
    commit_now([finished, spent, failed, running, lost, Log(refused)])
    commit_now(
        [
            make_settle(finished, 700, prompt_tokens=8, cached_tokens=2),
            make_settle(spent, 1300, prompt_tokens=13, finish_reason="length"),
            make_settle(failed, 0, prompt_tokens=5, outcome="upstream-failed", status=502),
        ]
    )
    assert sweeper.sweep(NOW) == 1
    account.refresh_from_db()
    return account


@pytest.fixture
def finished(account):
    return ApiRequest.objects.get(cost_nano=700)


def found(account_id=None, now=NOW) -> list[str]:
    """What differs, without accounts and ids, in alphabetical order."""
    differences = reconcile.differences(account_id, now)
    return sorted(re.sub(r" [0-9a-f]{8}-[0-9a-f]{4}", "", one.what) for one in differences)


def tamper(sql, *parameters):
    with lifted(connection), connection.cursor() as cursor:
        ids = [one.hex if isinstance(one, uuid.UUID) else one for one in parameters]
        cursor.execute(sql, ids)
        assert cursor.rowcount == 1


# --- Right books ---------------------------------------------------------------------------------


def test_empty_books_are_right(books):
    assert list(reconcile.differences()) == []


def test_books_with_every_ending_are_right(account):
    assert list(reconcile.differences(now=NOW)) == []
    assert ApiRequest.objects.count() == 5


def test_a_request_log_of_many_pages_is_read_whole(account, monkeypatch):
    monkeypatch.setattr(reconcile, "PAGE", 2)
    assert found() == []
    last = ApiRequest.objects.order_by("pk").last()
    tamper("UPDATE gateway_apirequest SET loss_nano = 5 WHERE id = %s", last.id)
    assert found() == ["loss of request"]


def test_the_number_of_queries_does_not_grow_with_the_books(account, django_assert_max_num_queries):
    for _ in range(20):
        other = make_account(balance_nano=1000)
        reserve = make_reserve(other, make_price(), make_ask(100), now=NOW)
        commit_now([reserve, make_settle(reserve, 100, prompt_tokens=1)])
    with django_assert_max_num_queries(13 + 21):  # Each price version is read once.
        assert found() == []


# --- Reversals -----------------------------------------------------------------------------------


@pytest.fixture
def reversed_settle(account, finished):
    """The settlement of `finished`, which was given back."""
    reserve = make_reserve(account, make_price(), make_ask(), now=NOW)
    settle = make_settle(dataclasses.replace(reserve, request_id=finished.id.hex), 700)
    settle.record.key_id = finished.key_id.hex
    commit_now([undo(settle, NOW)])
    return settle


def test_a_charge_that_was_given_back_is_right(account, reversed_settle):
    assert LedgerEntry.objects.filter(kind="reversal").count() == 1
    assert found() == []


def test_a_charge_that_was_not_given_back_in_full_is_found(account, reversed_settle):
    tamper("UPDATE billing_ledgerentry SET amount_nano = 699 WHERE kind = 'reversal'")
    assert found() == [
        "account of the entry of request",
        "balance",
        "entry of request",
        "reversal",
    ]


def test_a_lost_request_whose_charge_stands_is_found(account, reversed_settle):
    tamper("DELETE FROM billing_ledgerentry WHERE kind = 'reversal'")
    assert found() == ["account of the entry of request", "balance", "entry of request"]


def test_a_reversal_of_a_request_that_is_charged_all_the_same_is_found(account, reversed_settle):
    tamper(
        "UPDATE gateway_apirequest SET outcome = 'finished', cost_nano = 700 WHERE id = %s",
        reversed_settle.request_id,
    )
    assert found() == ["reversal", "spend of key"]


def test_a_reversal_without_its_charge_is_found(account):
    LedgerEntry.objects.create(
        account=account, kind="reversal", amount_nano=5, idempotency_key=f"reverse:{uuid7().hex}"
    )
    assert found() == ["balance", "reversal"]


# --- Sums ----------------------------------------------------------------------------------------


def test_a_changed_balance_is_found(account):
    tamper("UPDATE billing_creditaccount SET balance_nano = balance_nano + 1")
    assert found() == ["balance"]
    (difference,) = reconcile.differences(now=NOW)
    assert difference.account_id == account.id
    assert difference.found == difference.expected + 1


def test_a_changed_entry_is_found(account):
    tamper("UPDATE billing_ledgerentry SET amount_nano = 100001 WHERE kind = 'purchase'")
    assert found() == ["balance"]


def test_a_missing_purchase_is_found(account):
    tamper("DELETE FROM billing_ledgerentry WHERE kind = 'purchase'")
    assert found() == ["balance"]


def test_a_balance_without_any_entry_is_found(books):
    CreditAccount.objects.create(balance_nano=5)
    assert found() == ["balance"]


def test_a_changed_sum_of_holds_is_found(account):
    tamper("UPDATE billing_creditaccount SET held_nano = held_nano + 1")
    assert found() == ["held"]


def test_a_missing_hold_is_found_at_the_account_and_at_its_key(account):
    tamper("DELETE FROM billing_hold")
    assert found() == ["held", "held of key", "open holds"]


def test_a_changed_hold_is_found(account):
    tamper("UPDATE billing_hold SET amount_nano = amount_nano + 1")
    assert found() == ["held", "held of key"]


def test_what_a_key_holds_is_compared(account):
    tamper("UPDATE billing_keyspend SET held_nano = 0")
    assert found() == ["held of key"]


def test_a_hold_of_a_key_without_spend_is_found(account):
    other = make_key(account.user)[0]
    tamper("UPDATE billing_hold SET key_id = %s", other.id)
    assert found() == ["held of key", "held of key"]


def test_what_a_key_spent_is_compared(account):
    tamper("UPDATE billing_keyspend SET total_nano = total_nano + 1")
    assert found() == ["spend of key"]


def test_a_key_with_spend_and_no_requests_is_found(account):
    key = make_key(account.user)[0]
    cap_key(key, day_cap_nano=5)
    assert found() == []
    KeySpend.objects.filter(key=key).update(total_nano=5)
    assert found() == ["spend of key"]


def test_a_second_sign_up_credit_is_found(account):
    ledger.credit(account.id, kind="signup", amount_nano=5, idempotency_key="signup:again")
    assert found() == ["number of sign-up credits"]


def test_a_purchase_that_names_no_payment_is_found(account):
    ledger.credit(account.id, kind="purchase", amount_nano=5, idempotency_key="mistake")
    assert found() == ["key of purchase"]


# --- Entries and requests ------------------------------------------------------------------------


def test_an_entry_without_its_request_is_found(account, finished):
    tamper("DELETE FROM gateway_apirequest WHERE id = %s", finished.id)
    assert found() == ["request of entry", "spend of key"]


def test_an_entry_of_another_request_is_found(account, finished):
    tamper(
        "UPDATE billing_ledgerentry SET request_id = %s WHERE request_id = %s",
        uuid7(),
        finished.id,
    )
    assert found() == ["account of the entry of request", "entry of request", "request of entry"]


def test_a_request_without_its_entry_is_found(account, finished):
    tamper("DELETE FROM billing_ledgerentry WHERE request_id = %s", finished.id)
    assert found() == ["account of the entry of request", "balance", "entry of request"]


def test_a_charge_to_another_account_is_found(account, finished):
    other = make_account(balance_nano=1000)
    tamper(
        "UPDATE billing_ledgerentry SET account_id = %s WHERE request_id = %s",
        other.id,
        finished.id,
    )
    assert sorted(found()) == ["account of the entry of request", "balance", "balance"]


def test_an_entry_for_a_request_that_costs_nothing_is_found(account):
    failed = ApiRequest.objects.get(outcome="upstream-failed")
    LedgerEntry.objects.create(
        account=account, kind="usage", amount_nano=-1, request_id=failed.id, idempotency_key="x"
    )
    assert found() == ["account of the entry of request", "balance", "entry of request"]


def test_a_charge_that_differs_from_its_request_is_found(account, finished):
    tamper("UPDATE billing_ledgerentry SET amount_nano = -1 WHERE request_id = %s", finished.id)
    assert found() == ["balance", "entry of request"]


@pytest.mark.parametrize(
    ("column", "differs"),
    [
        ("prompt_tokens", ["cost of request"]),
        ("cached_tokens", ["cost of request"]),
        ("completion_tokens", ["cost of request", "loss of request"]),
        ("cost_nano", ["cost of request", "entry of request", "spend of key"]),
        ("loss_nano", ["loss of request"]),
    ],
)
def test_a_changed_request_is_found(account, finished, column, differs):
    tamper(f"UPDATE gateway_apirequest SET {column} = {column} + 1 WHERE id = %s", finished.id)
    assert found() == differs


def test_a_charge_at_another_price_is_found(account, finished):
    price = make_price(input_nano=1)
    tamper(
        "UPDATE gateway_apirequest SET price_version_id = %s WHERE id = %s",
        price.id,
        finished.id,
    )
    assert found() == ["cost of request"]


def test_a_changed_price_is_found(account):
    tamper("UPDATE billing_priceversion SET input_nano = 90000000")
    assert found() == ["cost of request", "loss of request"]


def test_a_charge_for_a_broken_answer_is_found(account, finished):
    tamper("UPDATE gateway_apirequest SET outcome = 'upstream-failed' WHERE id = %s", finished.id)
    assert found() == ["cost of request"]


def test_a_finished_answer_that_was_not_charged_is_found(account):
    tamper("UPDATE gateway_apirequest SET outcome = 'finished' WHERE outcome = 'upstream-failed'")
    assert found() == ["cost of request"]


# --- Holds ---------------------------------------------------------------------------------------


def test_a_hold_is_overdue_a_minute_after_its_deadline(account):
    deadline = Hold.objects.get().deadline
    assert found(now=deadline + dt.timedelta(seconds=60)) == []
    assert found(now=deadline + dt.timedelta(seconds=61)) == ["hold"]


@pytest.mark.parametrize("miscounted", [0, 2])
def test_a_wrong_number_of_open_holds_is_found(account, miscounted):
    assert account.open_holds == 1
    CreditAccount.objects.filter(pk=account.pk).update(open_holds=miscounted)
    assert found() == ["open holds"]


def test_a_hold_of_a_closed_request_is_found(account):
    tamper("UPDATE billing_hold SET id = %s", ApiRequest.objects.filter(outcome="refused").get().id)
    assert found() == ["hold"]


# --- After an erasure ----------------------------------------------------------------------------


def test_of_an_erased_account_the_sums_alone_are_proved(account):
    ApiRequest.objects.filter(account=account).delete()
    Hold.objects.all().delete()
    KeySpend.objects.all().delete()
    CreditAccount.objects.filter(pk=account.pk).update(user=None, held_nano=0, open_holds=0)
    assert found() == []
    CreditAccount.objects.filter(pk=account.pk).update(balance_nano=1)
    assert found() == ["balance"]


# --- The command ---------------------------------------------------------------------------------


def command(*arguments) -> tuple[int, str]:
    output, code = io.StringIO(), 0
    try:
        call_command("reconcile", *arguments, stdout=output)
    except SystemExit as end:
        code = end.code
    return code, output.getvalue()


def test_the_command_says_that_the_books_are_right(bob, alice):
    assert command() == (0, "accounts: 2, differences: 0\n")


def test_the_command_names_each_difference_and_fails(alice):
    account = alice.credit_account
    CreditAccount.objects.filter(pk=account.pk).update(balance_nano=1, held_nano=1)
    code, output = command()
    assert code == 1
    assert output.splitlines() == [
        f"{str(account.id)[:13]}  balance: expected 10000000000, found 1",
        f"{str(account.id)[:13]}  held: expected 0, found 1",
        "accounts: 1, differences: 2",
    ]


def test_the_command_checks_one_account_alone(account, alice):
    CreditAccount.objects.filter(pk=alice.credit_account.pk).update(balance_nano=1)
    Hold.objects.update(deadline=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    assert command("--account", str(account.id)) == (0, "accounts: 1, differences: 0\n")
    assert command("--account", str(alice.credit_account.id))[0] == 1


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE billing_creditaccount SET balance_nano = balance_nano + 1 WHERE held_nano > 0",
        "UPDATE gateway_apirequest SET loss_nano = 1 WHERE cost_nano = 700",
        "DELETE FROM gateway_apirequest WHERE cost_nano = 700",
        "UPDATE billing_keyspend SET held_nano = 0",
        "UPDATE billing_keyspend SET total_nano = 0",
        "UPDATE billing_hold SET deadline = '2020-01-01 00:00:00+00:00'",
    ],
)
def test_what_is_wrong_with_one_account_is_no_concern_of_another(account, bob, sql):
    tamper(sql)
    assert found(bob.credit_account.id) == []
    assert found(account.id) != []


def test_an_account_that_is_not_there_is_an_error(books):
    with pytest.raises(CommandError, match="there is no account"):
        command("--account", str(uuid7()))
