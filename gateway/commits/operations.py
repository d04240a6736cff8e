"""What requests ask of the books: the operations that one batch applies, and how each is refused.

Reserve   a request is going to be forwarded
Settle    it has ended, and costs something
Release   it was never begun, since nobody waited for its reservation
Reverse   it has ended, but its caller was told that it could not be settled
Record    it was refused, and held nothing
"""

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

from billing import ledger
from gateway.commits.record import RequestRecord
from gateway.models import ApiRequest


class HoldClosed(Exception):
    """The hold to settle is gone: swept, since its process was taken for dead."""


class GivenUp(Exception):
    """The caller was told that this settlement failed before its turn came: it changes nothing."""


class KeyTaken(Exception):
    """Another request has the Idempotency-Key, or had it and was answered."""

    def __init__(self, claim: "Claim"):
        super().__init__(claim.id)
        self.claim = claim


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """An Idempotency-Key, by its digest, and that of the body it was sent with."""

    id: str
    body_digest: str
    expires_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class ClaimEnd:
    """Keep the answer (sealed, base64 text; None: it isn't retained), or free the key."""

    id: str
    is_complete: bool
    answer: str | None = None


@dataclasses.dataclass(slots=True)
class Reserve:
    """Set aside the most that a request can cost, and claim its key. Result: `ledger.Grant`."""

    request_id: str
    account_id: str
    key_id: str | None
    price_version_id: str
    ask: ledger.Ask
    now: dt.datetime
    deadline: dt.datetime
    claim: Claim | None = None


@dataclasses.dataclass(slots=True)
class Content:
    """Sealed content, base64 text, and when it is to be purged."""

    sealed: str
    purge_at: dt.datetime


@dataclasses.dataclass(slots=True)
class _Logged:
    """It leaves a row in the request log."""

    record: RequestRecord

    @property
    def request_id(self) -> str:
        return self.record.id

    @property
    def account_id(self) -> str:
        return self.record.account_id

    @property
    def key_id(self) -> str | None:
        return self.record.key_id


@dataclasses.dataclass(slots=True)
class Settle(_Logged):
    """Close the hold of `record`, charge its cost, log it. Result: the nano-dollars charged.

    `is_given_up` once its caller was told that it failed. It is followed by a `Reverse` then,
    whether it was written or not.
    """

    cost_nano: int
    now: dt.datetime
    content: Content | None = None
    claim_end: ClaimEnd | None = None
    is_given_up: bool = False


@dataclasses.dataclass(slots=True)
class Release:
    """Close a hold whose request nobody waits for any more, if it is open. Result: None."""

    request_id: str
    account_id: str
    key_id: str | None
    now: dt.datetime
    claim: Claim | None = None


@dataclasses.dataclass(slots=True)
class Reverse(_Logged):
    """See that `record` costs nothing, whatever became of its settlement. Result: None.

    What was charged is given back; a hold that is still open is closed. Either way the request is
    logged as lost, as the sweeper would have it.
    """

    settled_at: dt.datetime
    now: dt.datetime
    claim_end: ClaimEnd | None = None


@dataclasses.dataclass(slots=True)
class Record(_Logged):
    """Log a request that held nothing. Result: None."""

    content: Content | None = None


Booking = Reserve | Settle | Release | Reverse
Operation = Booking | Record
Decided = Callable[[list[Any]], object]


def undo(op: Reserve | Settle, now: dt.datetime) -> Release | Reverse:
    """What makes `op` as if it had never been, whether it was applied or not."""
    if isinstance(op, Reserve):
        return Release(op.request_id, op.account_id, op.key_id, now, op.claim)
    lost = dataclasses.replace(
        op.record, outcome=ApiRequest.Outcome.LOST.value, error_type="server"
    )
    claim_end = op.claim_end and ClaimEnd(op.claim_end.id, is_complete=False)
    return Reverse(lost, op.now, now, claim_end)


def size_of(operation: Operation) -> int:
    """About how many bytes of content an operation brings along."""
    content = operation.content if isinstance(operation, Settle | Record) else None
    kept = operation.claim_end if isinstance(operation, Settle) else None
    return len(content.sealed if content else "") + len((kept and kept.answer) or "")
