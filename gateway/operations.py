"""What requests ask of the books: the operations that one batch applies, and how each is refused.

Reserve   a request is going to be forwarded
Settle    it has ended, and costs something
Release   it was never begun, since nobody waited for its reservation
Record    it was refused, and held nothing
"""

import dataclasses
import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

from billing import ledger
from gateway.request_log import RequestRecord


class HoldClosed(Exception):
    """The hold to settle is gone: swept, since its process was taken for dead."""


class GivenUp(Exception):
    """Nobody waited for this settlement any more when its turn came: it changes nothing."""


class KeyTaken(Exception):
    """Another request has the Idempotency-Key, or had it and was answered."""

    def __init__(self, claim: "Claim"):
        super().__init__(claim.id)
        self.claim = claim


class Fate:
    """Decides once whether a settlement is written or given up: by who comes first.

    The caller was told that it failed, or the books say that it was charged, never both.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # SQLite's batches run in a thread.
        self._owner: str | None = None

    def take(self, owner: str) -> bool:
        """Whether it is `owner`'s to decide, now and whenever it asks again."""
        with self._lock:
            self._owner = self._owner or owner
            return self._owner == owner


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
class Settle:
    """Close the hold of `record`, charge its cost, log it. Result: the nano-dollars charged."""

    record: RequestRecord
    cost_nano: int
    now: dt.datetime
    content: Content | None = None
    claim_end: ClaimEnd | None = None
    fate: Fate = dataclasses.field(default_factory=Fate, compare=False, repr=False)

    @property
    def request_id(self) -> str:
        return self.record.id

    @property
    def account_id(self) -> str:
        return self.record.account_id

    @property
    def key_id(self) -> str | None:
        return self.record.key_id

    def begin(self) -> None:
        """It is going to be written. Raises GivenUp."""
        if not self.fate.take("batch"):
            raise GivenUp(self.record.id)

    def give_up(self) -> bool:
        """Never write it. False if its batch has begun to: then its fate is near."""
        return self.fate.take("caller")


@dataclasses.dataclass(slots=True)
class Release:
    """Close a hold whose request nobody waits for any more, if it is open. Result: None."""

    request_id: str
    account_id: str
    key_id: str | None
    now: dt.datetime
    claim: Claim | None = None


@dataclasses.dataclass(slots=True)
class Record:
    """Log a request that held nothing. Result: None."""

    record: RequestRecord
    content: Content | None = None


Booking = Reserve | Settle | Release
Operation = Booking | Record
Decided = Callable[[list[Any]], object]


def size_of(operation: Operation) -> int:
    """About how many bytes of content an operation brings along."""
    content = operation.content if isinstance(operation, Settle | Record) else None
    kept = operation.claim_end if isinstance(operation, Settle) else None
    return len(content.sealed if content else "") + len((kept and kept.answer) or "")
