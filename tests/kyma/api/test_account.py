"""The account and its ledger at /api/."""

import pytest

from billing import ledger
from billing.models import LedgerEntry
from tests.conftest import USD
from tests.support.api_client import signed_in

pytestmark = pytest.mark.usefixtures("books")


def test_the_account_says_who_and_how_much(alice):
    told = signed_in(alice).get("/api/account").json()
    assert told["id"] == str(alice.id)
    assert (told["email"], told["state"], told["tier"]) == ("alice@example.org", "active", 0)
    assert told["created_at"].endswith("Z")
    assert told["balance"] == {"usd": "10.0", "nano": 10 * USD}
    assert told["available"] == told["balance"]
    assert told["held"] == told["owed"] == {"usd": "0.0", "nano": 0}
    assert told["limits"]["requests_per_minute"] == 30
    assert told["limits"]["concurrent_requests"] == 8


def test_an_account_without_limits_says_null(alice):
    alice.credit_account.unlimited = True
    alice.credit_account.save()
    limits = signed_in(alice).get("/api/account").json()["limits"]
    assert set(limits.values()) == {None}


def test_times_are_utc_whatever_zone_the_pages_are_in(alice):
    client = signed_in(alice)
    client.cookies["timezone"] = "Asia/Tokyo"
    assert client.get("/api/account").json()["created_at"].endswith("Z")


@pytest.fixture
def entries(alice):
    """Five adjustments after the purchase, the newest first."""
    for number in range(1, 6):
        ledger.credit(
            alice.credit_account.id,
            kind=LedgerEntry.Kind.ADJUSTMENT,
            amount_nano=number,
            idempotency_key=f"adjustment:{number}",
        )
    return list(LedgerEntry.objects.order_by("-id"))


def pages_of(client, path: str) -> list[list[dict]]:
    pages, cursor = [], ""
    while cursor is not None:
        told = client.get(f"{path}&cursor={cursor}" if cursor else path).json()
        pages.append(told["data"])
        cursor = told["next_cursor"]
    return pages


def test_the_ledger_comes_in_pages_without_gaps_and_repeats(alice, entries):
    pages = pages_of(signed_in(alice), "/api/ledger?limit=4")
    assert [len(page) for page in pages] == [4, 2]
    told = [one["id"] for page in pages for one in page]
    assert told == [str(one.id) for one in entries]


def test_what_comes_meanwhile_shifts_no_page(alice, entries):
    client = signed_in(alice)
    first = client.get("/api/ledger?limit=3").json()
    ledger.credit(
        alice.credit_account.id,
        kind=LedgerEntry.Kind.ADJUSTMENT,
        amount_nano=99,
        idempotency_key="adjustment:late",
    )
    rest = client.get(f"/api/ledger?cursor={first['next_cursor']}").json()
    told = [one["id"] for one in first["data"] + rest["data"]]
    assert told == [str(one.id) for one in entries]
    assert rest["next_cursor"] is None


def test_the_ledger_can_be_narrowed_to_a_kind(alice, bob, entries):
    (told,) = signed_in(alice).get("/api/ledger?kind=purchase").json()["data"]
    assert told["amount"] == {"usd": "10.0", "nano": 10 * USD}
    assert signed_in(bob).get("/api/ledger").json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "kind=gift", "kinds=usage"]
)
def test_a_query_that_means_nothing_is_refused(query, alice):
    answer = signed_in(alice).get(f"/api/ledger?{query}")
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["errors"]] == [query.split("=")[0]]
