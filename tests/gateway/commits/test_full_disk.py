"""The disk of the database is full while a process is under load, and has room again.

On SQLite no file of the process may grow. On Postgres a trigger raises what the server raises, as a
test can't fill its disk.
"""

import contextlib
import resource
import time

import pytest
from django.db import connection

from billing.models import Hold
from gateway.commits import reconcile
from tests.support.gateway.pressed import Load
from tests.support.gateway.receipts import GOOD, PRICE
from tests.support.live import Gateway, eventually

AT_WORK_S = 1.0
STALLED_AFTER_S = 1.0
SMALLEST = 4096  # bytes: the write-ahead log is longer after its first page
on_postgres = connection.vendor == "postgresql"

WRITTEN = ("billing_hold", "billing_ledgerentry", "gateway_apirequest", "gateway_requestcontent")
FULL = """
CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device'
USING ERRCODE = '53100'; END $$
"""
REFUSE = "CREATE TRIGGER disk_full BEFORE INSERT ON {table} EXECUTE FUNCTION disk_full()"


@contextlib.contextmanager
def full_on_sqlite(gateway: Gateway):
    before = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (SMALLEST, before[1]))
    try:
        yield
    finally:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def full_on_postgres(gateway: Gateway):
    with connection.cursor() as cursor:
        cursor.execute(FULL)
        for table in WRITTEN:
            cursor.execute(REFUSE.format(table=table))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION disk_full CASCADE")


full = full_on_postgres if on_postgres else full_on_sqlite


@pytest.mark.parametrize(
    "away_s",
    [
        pytest.param(2.5, id="quick"),
        pytest.param(60, id="full-and-frozen-for-a-minute", marks=pytest.mark.endurance),
    ],
)
def test_a_full_disk_fails_requests_at_once_and_leaves_the_books_right(
    committed, scripted, fake, away_s
):
    environment = {"COMMIT_STALLED_AFTER_S": str(STALLED_AFTER_S), "CACHE_TTL_S": "1"}
    with Gateway(**environment) as gateway:
        load = Load(gateway, fake.script(GOOD), pause_s=0.3)
        with load.pressing():
            time.sleep(AT_WORK_S)
            with full(gateway):
                gone = time.monotonic()
                time.sleep(away_s)
            back = time.monotonic()
            eventually(lambda: load.looks[-1].began > back and load.looks[-1].status == 200)
            green = time.monotonic()
            time.sleep(AT_WORK_S)
    during = [one for one in load.begun_between(gone + 0.1, back) if one.ended < back]
    refused = [one for one in during if one.kind.startswith("chat")]
    assert {one.status for one in refused} == {503}
    assert all(b"Try again shortly" in one.body for one in refused)
    assert max(one.took_s for one in during) < 3
    red = [one for one in load.looks if one.status == 503]
    assert gone <= red[0].ended <= gone + 5
    assert b"stalled" in red[0].body
    assert {one.status for one in load.begun_between(green, green + 60)} == {200}
    eventually(lambda: not Hold.objects.exists())
    for number, customer in enumerate(load.customers):
        spent = sum(-one.amount_nano for one in customer.account.entries.exclude(kind="purchase"))
        assert spent == PRICE * load.whole_answers(number)
    assert list(reconcile.differences()) == []
