"""The operations that a batch applies to the books and to the request log, and their refusals.

Reserve   hold credit for a request that is about to be forwarded
Settle    charge a request that has ended, close its hold and log it
Release   close the hold of a request that was never forwarded: its caller stopped waiting
Reverse   give back a charge whose settlement was reported to the request as failed
Log       log a request that held nothing
"""

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

from billing import ledger
from gateway.commits.record import RequestRecord
from gateway.models import ApiRequest, ContentLeftOut


class HoldClosed(Exception):
    """The hold to settle is gone: the sweeper took its process for dead and closed it."""


class GivenUp(Exception):
    """The settlement was reported as failed before its turn came, so it changes nothing."""


class KeyTaken(Exception):
    """Another request holds the Idempotency-Key, or has been answered under it."""

    def __init__(self, claim: "Claim"):
        super().__init__(claim.id)
        self.claim = claim


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A request's claim to its Idempotency-Key: the digests of the key and of the body."""

    id: str
    body_digest: str
    expires_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class ClaimEnd:
    """The end of a claim: if `is_complete` the answer is kept, otherwise the key is free again.

    `answer` is sealed, as base64 text. It is None if no content is kept.
    """

    id: str
    is_complete: bool
    answer: str | None = None

    def without_answer(self) -> "ClaimEnd":
        return dataclasses.replace(self, answer=None)


@dataclasses.dataclass(slots=True)
class Reserve:
    """Hold the most that a request can cost, and claim its key. Result: `ledger.Grant`.

    `process_id` is that of the web process which will settle it, if there is one.
    """

    request_id: str
    account_id: str
    key_id: str | None
    price_version_id: str
    ask: ledger.Ask
    now: dt.datetime
    deadline: dt.datetime
    claim: Claim | None = None
    process_id: str | None = None


@dataclasses.dataclass(slots=True)
class Content:
    """Sealed content as base64 text, and the time at which to purge it."""

    sealed: str
    purge_at: dt.datetime


@dataclasses.dataclass(slots=True)
class _Logged:
    """An operation that writes `record` to the request log."""

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
    """Charge `cost_nano`, close the hold, log the request. Result: the nano-dollars charged.

    `is_given_up` is set once the settlement has been reported as failed. A `Reverse` follows then,
    whether the settlement was written or not.
    """

    cost_nano: int
    now: dt.datetime
    content: Content | None = None
    claim_end: ClaimEnd | None = None
    is_given_up: bool = False

    def give_up(self) -> None:
        """Note that the settlement was reported as failed. Its content is needed no more."""
        self.is_given_up, self.content = True, None

    def leave_out_content(self, why: ContentLeftOut) -> None:
        """Charge and log without content."""
        if self.content is not None:
            self.record.content_left_out = why.value
        self.content = None
        self.claim_end = self.claim_end and self.claim_end.without_answer()


@dataclasses.dataclass(slots=True)
class Release:
    """Close the hold of a request that was never forwarded, if it is open. Result: None."""

    request_id: str
    account_id: str
    key_id: str | None
    now: dt.datetime
    claim: Claim | None = None


@dataclasses.dataclass(slots=True)
class Reverse(_Logged):
    """Make the request free, whether its settlement was written or not. Result: None.

    A charge is given back, and a hold that is still open is closed. Either way the request is
    logged as lost, as the sweeper logs it.
    """

    settled_at: dt.datetime
    now: dt.datetime
    claim_end: ClaimEnd | None = None


@dataclasses.dataclass(slots=True)
class Log(_Logged):
    """Log a request that held nothing, without content. Result: None."""


Booking = Reserve | Settle | Release | Reverse
Operation = Booking | Log
Decided = Callable[[list[Any]], object]


def undo(op: Reserve | Settle, now: dt.datetime) -> Release | Reverse:
    """Return the operation that undoes `op`. It is right whether `op` was applied or not."""
    if isinstance(op, Reserve):
        return Release(op.request_id, op.account_id, op.key_id, now, op.claim)
    lost = dataclasses.replace(
        op.record, outcome=ApiRequest.Outcome.LOST.value, error_type="server"
    )
    claim_end = op.claim_end and ClaimEnd(op.claim_end.id, is_complete=False)
    return Reverse(lost, op.now, now, claim_end)


def size_of(operation: Operation) -> int:
    """Return roughly how many bytes of content an operation carries."""
    if not isinstance(operation, Settle):
        return 0
    content, end = operation.content, operation.claim_end
    return len(content.sealed if content else "") + len((end and end.answer) or "")
