"""Postgres looks up the rows of a batch by an index, however many rows the tables have.

It takes the JSON of a statement for a hundred rows and would rather read a table of 25,000 whole:
then each batch costs as much as all accounts together.
"""

import re

import pytest
from django.db import connection
from django.utils import timezone

from gateway.commits.postgres import begin
from gateway.commits.sql import NAMES, as_json, statement
from tests.support.factories import make_account, make_price, make_request

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite looks up each row by itself"
)

MANY = 25_000
SCAN = re.compile(r"Scan (?:using \w+ )?on (?!jsonb_to_recordset)")
BY_ROW = re.compile(r"Index Cond: .* = (?:r|i)\.")

OTHERS = """
    INSERT INTO billing_creditaccount SELECT (row).* FROM (
        SELECT jsonb_populate_record(a, jsonb_build_object('id', gen_random_uuid(),
            'user_id', gen_random_uuid())) AS row
        FROM billing_creditaccount AS a, generate_series(1, %s) WHERE a.id = %s
    ) AS others
"""
HOLDS = """
    INSERT INTO billing_hold SELECT (row).* FROM (
        SELECT jsonb_populate_record(NULL::billing_hold, jsonb_build_object(
            'id', gen_random_uuid(), 'account_id', a.id, 'price_version_id', %s::uuid,
            'amount_nano', 1, 'created_at', now(), 'deadline', now())) AS row
        FROM billing_creditaccount AS a
    ) AS holds
"""
CLAIMS = """
    INSERT INTO gateway_idempotentrequest SELECT (row).* FROM (
        SELECT jsonb_populate_record(NULL::gateway_idempotentrequest, jsonb_build_object(
            'id', h.id, 'account_id', h.account_id, 'request_id', h.id, 'body_digest', h.id,
            'expires_at', now())) AS row
        FROM billing_hold AS h
    ) AS claims
"""
SPEND = """
    INSERT INTO billing_keyspend SELECT (row).* FROM (
        SELECT jsonb_populate_record(NULL::billing_keyspend, jsonb_build_object(
            'key_id', h.id, 'held_nano', 0, 'total_nano', 0, 'day_nano', 0, 'week_nano', 0,
            'month_nano', 0, 'day', now(), 'week', now(), 'month', now())) AS row
        FROM billing_hold AS h
    ) AS spend
"""
REQUESTS = """
    INSERT INTO gateway_apirequest SELECT (row).* FROM (
        SELECT jsonb_populate_record(q, jsonb_build_object('id', gen_random_uuid())) AS row
        FROM gateway_apirequest AS q, generate_series(1, %s) WHERE q.id = %s
    ) AS requests
"""
TABLES = ", ".join(
    (
        *("billing_creditaccount", "billing_hold", "billing_keyspend"),
        *("gateway_apirequest", "gateway_idempotentrequest"),
    )
)


@pytest.fixture
def many_accounts(books):
    """Accounts with a hold, a claim and a key each, counted as Postgres does after a while."""
    account, price = make_account(), make_price()
    request = make_request(account, timezone.now())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # Their users are made up.
        cursor.execute(OTHERS, [MANY, account.id])
        cursor.execute(HOLDS, [price.id])
        cursor.execute(CLAIMS)
        cursor.execute(SPEND)
        cursor.execute(REQUESTS, [MANY, request.id])
        cursor.execute(f"ANALYZE {TABLES}")
        cursor.execute("SELECT id FROM billing_creditaccount LIMIT 256")
        yield [row[0].hex for row in cursor.fetchall()]


def plan_of(name: str, ids: list[str]) -> list[str]:
    rows = as_json([{"id": one} for one in ids])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement(name, 'postgresql')}", [rows])
        return [row[0] for row in cursor.fetchall()]


def whole_scans(plan: list[str]) -> list[str]:
    """The steps that read a table without looking for the rows of the batch."""
    following = zip(plan, [*plan[1:], ""], strict=True)
    return [step for step, after in following if SCAN.search(step) and not BY_ROW.search(after)]


def test_no_statement_of_a_batch_reads_a_table_whole(many_accounts):
    assert any(whole_scans(plan_of(name, many_accounts)) for name in NAMES)
    with connection.cursor() as cursor:
        for command, _ in begin(200)[1:]:
            cursor.execute(command)
    scans = {name: whole_scans(plan_of(name, many_accounts)) for name in NAMES}
    assert {name: steps for name, steps in scans.items() if steps} == {}
