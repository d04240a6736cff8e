"""A page costs as much as its rows, however many there are behind it."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support.api_client import signed_in
from tests.support.factories import make_request
from tests.support.query_plans import Sorting, plan_of, sorting

NOON = dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC)
RANGE = "since=2026-03-27T00:00:00Z&until=2026-03-31T00:00:00Z"
TABLES = ("gateway_apirequest", "billing_ledgerentry")
LONG = ["/api/requests", "/api/ledger", "/billing", f"/api/usage/lines?{RANGE}"]

pytestmark = pytest.mark.usefixtures("books")


def plans(client, address: str) -> list[str]:
    """How the database went about what the page asked of the log and the ledger."""
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    long = [one["sql"] for one in asked if any(table in one["sql"] for table in TABLES)]
    assert long
    return [plan_of(sql) for sql in long]


@pytest.mark.parametrize("address", LONG)
def test_rows_come_in_the_order_of_an_index(alice, address):
    client = signed_in(alice)
    cursor = "before" if address == "/billing" else "cursor"
    last = alice.credit_account.entries.get().id
    following = f"{address}{'&' if '?' in address else '?'}{cursor}={last}"
    for one in (address, following):
        told = plans(client, one)
        assert any("_ids_of_account" in plan for plan in told)
        assert {sorting(plan) for plan in told} == {Sorting.NONE}, told


@pytest.mark.parametrize("path", ["/api/requests", "/api/usage/lines", "/api/keys", "/api/ledger"])
def test_more_rows_need_no_more_queries(alice, path):
    client = signed_in(alice)
    address = f"{path}?{RANGE}" if path == "/api/usage/lines" else path

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        return len(asked)

    few = queries()
    for _ in range(5):
        make_request(alice.credit_account, NOON)
    assert queries() == few
