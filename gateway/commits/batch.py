"""One batch of durable operations, applied in one transaction.

`apply` decides nothing about money and knows no engine. It locks the accounts, lets
`billing.ledger` change their sheets one operation after the other, and returns the rows to write
back, with one statement per table. It is a generator: it yields read statements and is sent their
rows, so that the same batch runs on psycopg in the event loop and on Django's connection in a
thread.

A refused operation changes nothing, and its result is the exception. A batch is safe to repeat
when its commit may have succeeded: a hold that exists is granted again, and a request that is in
the log counts as settled.
"""

import datetime as dt
from collections.abc import Generator
from typing import Any

from accounts.ids import id_at
from billing import ledger
from billing.errors import BillingError, NoSuchAccount
from billing.key_spend import PERIODS, KeySheet
from billing.tiers import max_open_holds
from gateway.commits.operations import (
    Claim,
    ClaimEnd,
    GivenUp,
    HoldClosed,
    KeyTaken,
    Log,
    Operation,
    Release,
    Reserve,
    Reverse,
    Settle,
)
from gateway.commits.record import COLUMNS, RequestRecord
from gateway.errors import forget_frames
from gateway.models import ApiRequest

Statement = tuple[str, list[dict]]
Rows = list[tuple]


def apply(
    operations: list[Operation],
) -> Generator[list[Statement], list[Rows], tuple[list[Any], list[Statement]]]:
    """Apply `operations` in order.

    Return one result per operation (a refusal is an exception), and the statements to write
    before the commit. After that only a failing commit changes the results.
    """
    books = Books()
    yield from books.open(operations)
    results = []
    for operation in operations:
        try:
            results.append(books.apply(operation))
        except (BillingError, HoldClosed, GivenUp, KeyTaken) as refusal:
            forget_frames(refusal)
            results.append(refusal)
    return results, [(name, rows) for name, rows in books.writes() if rows]


class Books:
    """The accounts, keys and holds that one batch touches, locked and in memory."""

    def __init__(self) -> None:
        self.sheets: dict[str, ledger.Sheet] = {}
        self.owners: dict[str, bool] = {}
        self.keys: dict[str, KeySheet] = {}
        self.holds: dict[str, int] = {}
        self.logged: dict[str, tuple[str, int]] = {}
        self.claimed: dict[str, str] = {}
        self.touched_keys: set[str] = set()
        self.new_holds: dict[str, dict] = {}
        self.closed_holds: list[dict] = []
        self.entries: list[dict] = []
        self.requests: list[dict] = []
        self.contents: list[dict] = []
        self.claims: dict[str, dict] = {}
        self.claim_ends: list[dict] = []
        self.lost: list[dict] = []
        self.reversals: list[dict] = []

    # --- reading

    def open(self, operations: list[Operation]) -> Generator[list[Statement], list[Rows], None]:
        """Lock and read every row that `operations` touch.

        This takes one round trip. It takes one more if any operation carries a claim, and one
        more if the hold of a request to settle or reverse is gone.
        """
        bookings = [op for op in operations if not isinstance(op, Log)]
        if not bookings:
            return
        holds = _ids(op.request_id for op in bookings)
        accounts = _ids(op.account_id for op in bookings)
        keys = _ids(op.key_id for op in bookings)
        account_rows, hold_rows, key_rows = yield [
            ("lock_accounts", accounts),
            ("find_holds", holds),
            ("read_key_spend", keys),
        ]
        self._read_accounts(account_rows)
        self.holds = dict(_with_hex(hold_rows))
        self._read_keys(key_rows, max(op.now.date() for op in bookings))
        claims = [op for op in bookings if isinstance(op, Reserve) and op.claim]
        if claims:
            (rows,) = yield [("find_claims", [_claim_id(op) for op in claims])]
            self.claimed = {row[0]: _hex(row[1]) for row in rows}
        ended = [one for one in bookings if isinstance(one, Settle | Reverse)]
        closed = [one for one in ended if one.request_id not in self.holds]
        if closed:
            (rows,) = yield [("find_requests", _ids(one.request_id for one in closed))]
            self.logged = {_hex(row[0]): (row[1], row[2]) for row in rows}

    def _read_accounts(self, rows: Rows) -> None:
        for account_id, balance, held, owed, open_holds, tier, unlimited, user_id in rows:
            account = _hex(account_id)
            limit = max_open_holds(tier, unlimited=bool(unlimited))
            self.sheets[account] = ledger.Sheet(balance, held, owed, open_holds, limit)
            self.owners[account] = user_id is not None

    def _read_keys(self, rows: Rows, today: dt.date) -> None:
        for key_id, held, total, day, week, month, *rest in rows:
            starts = dict(zip(PERIODS, map(dt.date.fromisoformat, rest[:3]), strict=True))
            sheet = KeySheet(
                held,
                {"total": total, "day": day, "week": week, "month": month},
                starts,
                dict(zip(("total", *PERIODS), rest[3:-1], strict=True)),
            )
            sheet.roll(today, dt.date.fromisoformat(rest[-1]))
            self.keys[_hex(key_id)] = sheet

    # --- applying

    def apply(self, operation: Operation) -> Any:
        if isinstance(operation, Reserve):
            return self._reserve(operation)
        if isinstance(operation, Settle):
            return self._settle(operation)
        if isinstance(operation, Release):
            return self._release(operation)
        if isinstance(operation, Reverse):
            return self._reverse(operation)
        self._log(operation)
        return None

    def _reserve(self, op: Reserve) -> ledger.Grant:
        if op.request_id in self.holds:
            amount = self.holds[op.request_id]
            return ledger.Grant(amount, op.ask.affordable_tokens(amount))
        if op.claim and op.claim.id in self.claimed:
            raise KeyTaken(op.claim)
        sheet = self._sheet(op.account_id)
        grant = ledger.reserve(sheet, op.ask, self._key(op.key_id, op.now))
        if op.claim:
            self._claim(op, op.claim)
        self.holds[op.request_id] = grant.amount_nano
        self.new_holds[op.request_id] = {
            "id": op.request_id,
            "account_id": op.account_id,
            "key_id": op.key_id,
            "price_version_id": op.price_version_id,
            "amount_nano": grant.amount_nano,
            "process_id": op.process_id,
            "created_at": op.now,
            "deadline": op.deadline,
        }
        return grant

    def _claim(self, op: Reserve, claim: Claim) -> None:
        self.claimed[claim.id] = op.request_id
        self.claims[claim.id] = {
            "id": claim.id,
            "account_id": op.account_id,
            "request_id": op.request_id,
            "body_digest": claim.body_digest,
            "expires_at": claim.expires_at,
        }

    def _end_claim(self, end: ClaimEnd, request_id: str, now: dt.datetime) -> None:
        """End the claim of this request. Another request may hold the same key by now."""
        if not end.is_complete and self.claimed.get(end.id) == request_id:
            del self.claimed[end.id]
        self.claim_ends.append(
            {
                "id": end.id,
                "request_id": request_id,
                "completed_at": now if end.is_complete else None,
                "answer": end.answer,
            }
        )

    def _settle(self, op: Settle) -> int:
        if op.is_given_up:
            raise GivenUp(op.record.id)
        record = op.record
        held = self.holds.pop(record.id, None)
        if held is None:
            return self._settled_before(record)
        key = self._key(record.key_id, op.now)
        charged = ledger.settle(self._sheet(record.account_id), held, op.cost_nano, key)
        record.hold_nano, record.cost_nano = held, charged
        record.loss_nano = op.cost_nano - charged
        self.closed_holds.append({"id": record.id})
        self.logged[record.id] = (record.outcome, charged)
        self._log(op)
        if op.claim_end:
            self._end_claim(op.claim_end, record.id, op.now)
        if charged:
            entry = _entry(record, -charged, f"settle:{record.id}", op.now)
            entry["request_id"] = record.id
            self.entries.append(entry)
        return charged

    def _log(self, op: Settle | Log) -> None:
        record = op.record
        content = op.content if isinstance(op, Settle) else None
        self.requests.append(_row(record))
        if content is not None and self.owners.get(record.account_id, True):
            self.contents.append(
                {
                    "id": record.id,
                    "account_id": record.account_id,
                    "sealed": content.sealed,
                    "purge_at": content.purge_at,
                }
            )

    def _release(self, op: Release) -> None:
        held = self.holds.pop(op.request_id, None)
        if held is not None:
            ledger.release(self._sheet(op.account_id), held, self._key(op.key_id, op.now))
            self.closed_holds.append({"id": op.request_id})
            if op.claim:
                self._end_claim(ClaimEnd(op.claim.id, False), op.request_id, op.now)

    def _reverse(self, op: Reverse) -> None:
        record = op.record
        if record.id in self.holds:
            self._settle(Settle(record, 0, op.now, claim_end=op.claim_end))
            return
        outcome, cost = self.logged.get(record.id, (ApiRequest.Outcome.LOST, 0))
        if outcome == ApiRequest.Outcome.LOST:  # The sweeper or an earlier Reverse was first.
            return
        key = self._key(record.key_id, op.now)
        ledger.reverse(self._sheet(record.account_id), cost, op.settled_at.date(), key)
        self.lost.append({"id": record.id})
        self.logged[record.id] = (ApiRequest.Outcome.LOST, 0)
        if op.claim_end:
            self._end_claim(op.claim_end, record.id, op.now)
        if cost:
            self.reversals.append(_entry(record, cost, ledger.reversal_key(record.id), op.now))

    def _settled_before(self, record: RequestRecord) -> int:
        outcome, cost = self.logged.get(record.id, (ApiRequest.Outcome.LOST, 0))
        # Either the hold was swept, or this is the sweeper and the request was settled in time.
        if ApiRequest.Outcome.LOST in (outcome, record.outcome):
            raise HoldClosed(record.id)
        return cost

    def _sheet(self, account_id: str) -> ledger.Sheet:
        sheet = self.sheets.get(account_id)
        if sheet is None:
            raise NoSuchAccount(account_id)
        return sheet

    def _key(self, key_id: str | None, now: dt.datetime) -> KeySheet | None:
        if key_id is None:
            return None
        self.touched_keys.add(key_id)
        if key_id not in self.keys:
            self.keys[key_id] = KeySheet.fresh(now.date())
        return self.keys[key_id]

    # --- writing

    def writes(self) -> list[Statement]:
        """Return the statements that write all changes, in an order that keeps foreign keys valid.

        Accounts and keys aren't written for log rows alone.
        """
        closed = {row["id"] for row in self.closed_holds}
        opened = [row for hold, row in self.new_holds.items() if hold not in closed]
        stored = [row for row in self.closed_holds if row["id"] not in self.new_holds]
        changed = bool(self.new_holds or self.closed_holds or self.lost)
        return [
            ("save_accounts", self._account_rows() if changed else []),
            ("save_key_spend", self._key_rows() if changed else []),
            ("insert_holds", opened),
            ("delete_holds", stored),
            ("insert_requests", self.requests),
            ("insert_entries", self.entries),
            ("lose_requests", self.lost),
            ("insert_reversals", self.reversals),
            ("insert_contents", self.contents),
            ("insert_claims", list(self.claims.values())),
            ("complete_claims", [one for one in self.claim_ends if one["completed_at"]]),
            ("free_claims", [one for one in self.claim_ends if not one["completed_at"]]),
        ]

    def _account_rows(self) -> list[dict]:
        return [
            {
                "id": account,
                "balance_nano": sheet.balance,
                "held_nano": sheet.held,
                "open_holds": sheet.open_holds,
            }
            for account, sheet in self.sheets.items()
        ]

    def _key_rows(self) -> list[dict]:
        return [
            {
                "key_id": key_id,
                "held_nano": sheet.held,
                "total_nano": sheet.spent["total"],
                **{period: sheet.starts[period] for period in PERIODS},
                **{f"{period}_nano": sheet.spent[period] for period in PERIODS},
            }
            for key_id, sheet in self.keys.items()
            if key_id in self.touched_keys
        ]


def _entry(record: RequestRecord, amount_nano: int, key: str, now: dt.datetime) -> dict:
    return {
        "id": id_at(now).hex,  # Entries are listed by id, which must follow their time.
        "account_id": record.account_id,
        "amount_nano": amount_nano,
        "idempotency_key": key,
        "created_at": now,
    }


def _row(record: RequestRecord) -> dict:
    return {column: getattr(record, column) for column in COLUMNS}


def _claim_id(op: Reserve) -> dict:
    return {"id": op.claim.id if op.claim else "", "now": op.now}


def _ids(values) -> list[dict]:
    return [{"id": value} for value in dict.fromkeys(values) if value is not None]


def _hex(value: Any) -> str:
    return str(value).replace("-", "")


def _with_hex(rows: Rows) -> list[tuple]:
    return [(_hex(row[0]), row[1]) for row in rows]
