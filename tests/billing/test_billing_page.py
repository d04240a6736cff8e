"""The billing page: what there is, what lifts the tier, and every movement."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.ids import uuid7
from billing import ledger, views
from billing.models import CreditAccount, LedgerEntry
from tests.conftest import USD
from tests.support.factories import make_user


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def adjust(account: CreditAccount, amount_nano: int) -> LedgerEntry:
    return ledger.credit(
        account.id,
        kind=LedgerEntry.Kind.ADJUSTMENT,
        amount_nano=amount_nano,
        idempotency_key=f"adjustment:{uuid7().hex}",
    )


def entry_ids(page) -> list:
    return [entry.id for entry in page.context["entries"]]


def test_it_shows_what_there_is_and_what_is_set_aside(alice):
    CreditAccount.objects.filter(user=alice).update(held_nano=USD // 4)
    page = signed_in(alice).get("/billing")
    assert "$10.00" in page.text
    assert "$9.75 can be spent now" in page.text


def test_it_says_what_is_owed(alice):
    CreditAccount.objects.filter(user=alice).update(owed_nano=3)
    assert "This account owes $0.000000003" in signed_in(alice).get("/billing").text


@pytest.mark.parametrize(
    ("tier", "purchased", "missing"), [(0, 0, 5), (1, 20, 30), (2, 60, 190), (4, 1000, None)]
)
def test_it_says_how_much_lifts_the_tier(tier, purchased, missing):
    account = CreditAccount(tier=tier, purchased_nano=purchased * USD)
    wanted = None if missing is None else missing * USD
    assert views.missing_nano(account) == wanted


def test_it_sells_nothing_yet_and_says_so(alice):
    page = signed_in(alice).get("/billing")
    for amount in (5, 20, 100, 500):
        assert f"<li>${amount}</li>" in page.text
    assert "Buying opens with payments" in page.text
    assert page.text.count("<form") == 2  # To sign out, in both menus.


def test_the_pages_of_the_ledger_hold_each_entry_once(alice, monkeypatch):
    monkeypatch.setattr(views, "ENTRIES", 2)
    account = alice.credit_account
    for number in range(1, 5):
        adjust(account, number)
    client = signed_in(alice)
    page, seen = client.get("/billing"), []
    while True:
        seen += entry_ids(page)
        if page.context["older"] is None:
            break
        page = client.get("/billing", {"before": page.context["older"]})
    assert seen == list(account.entries.order_by("-id").values_list("id", flat=True))
    assert sum(account.entries.get(pk=one).amount_nano for one in seen) == 10 * USD + 10


def test_a_page_that_ends_with_the_last_entry_offers_no_older_one(alice, monkeypatch):
    monkeypatch.setattr(views, "ENTRIES", 1)
    assert signed_in(alice).get("/billing").context["older"] is None


def test_nothing_of_alices_is_on_bobs(alice, bob):
    entry = adjust(alice.credit_account, 123_456_789)
    client = signed_in(bob)
    assert entry_ids(client.get("/billing")) == []
    assert client.get("/billing", {"before": entry.id}).status_code == 404
    assert entry.id in entry_ids(signed_in(alice).get("/billing"))


def test_more_entries_take_no_more_queries(alice):
    client = signed_in(alice)
    client.get("/billing")
    with CaptureQueriesContext(connection) as few:
        client.get("/billing")
    for number in range(1, 10):
        adjust(alice.credit_account, number)
    with CaptureQueriesContext(connection) as many:
        client.get("/billing")
    assert len(few) == len(many)


def test_somebody_without_an_account_gets_an_empty_one(books):
    page = signed_in(make_user()).get("/billing")
    assert "Nothing has moved yet" in page.text


@pytest.mark.parametrize("before", ["x", str(uuid7())])
def test_a_page_that_is_none_is_not_found(before, alice):
    assert signed_in(alice).get("/billing", {"before": before}).status_code == 404


def test_strangers_are_sent_to_sign_in_and_nothing_is_posted(alice):
    assert Client().get("/billing").status_code == 302
    assert signed_in(alice).post("/billing").status_code == 405
