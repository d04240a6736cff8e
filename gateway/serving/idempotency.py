"""Idempotency-Key: a request that is sent again is answered again, and charged once.

A key belongs to its account and counts for 24 hours. It is claimed in the transaction that reserves
and completed or freed in the one that settles, so two attempts can never both reach a provider, in
whichever processes they arrive. Only a complete answer is kept, sealed; any other ending frees the
key. A claim that outlives its hold belongs to a process that died, and is free.
"""

import base64
import dataclasses
import datetime as dt
import hashlib
import hmac

import orjson
from django.conf import settings
from django.db import Error as DatabaseError

from gateway.access.authentication import Caller
from gateway.commits.operations import Claim, ClaimEnd
from gateway.database import read_in_thread
from gateway.dialects.chat.chunks import usage_object
from gateway.errors import Conflict, InvalidRequest, Unavailable, Unprocessable
from gateway.models import ApiRequest, IdempotentRequest, kept_answer_place
from gateway.receipts.generation import answer_id, usage_of
from gateway.serving.exchange import Exchange

HEADER = "idempotency-key"
LONGEST_KEY = 255
LIFETIME = dt.timedelta(hours=24)
MAX_KEPT_BYTES = 10_000_000  # of one answer; open streams keep theirs in memory


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A complete answer as it was sent: the headers that describe it, its type and its bytes."""

    headers: dict[str, str]
    content_type: str
    body: bytes

    def sealed(self, claim: Claim, caller: Caller) -> str | None:
        """Return the answer for the database, as base64 text.

        It is None if the caller's key keeps nothing (P2) or the answer is too long.
        """
        if caller.retention_days == 0 or len(self.body) > MAX_KEPT_BYTES:
            return None
        head = orjson.dumps({"headers": self.headers, "content_type": self.content_type})
        plain = head + b"\n" + self.body
        return base64.b64encode(caller.cipher.seal(plain, kept_answer_place(claim.id))).decode()

    @classmethod
    def opened(cls, answer: bytes, place: str, caller: Caller) -> "Kept":
        head, _, body = caller.cipher.open(answer, place).partition(b"\n")
        return cls(**orjson.loads(head), body=body)


def claim_of(exchange: Exchange, caller: Caller, api: str) -> Claim | None:
    """Return the claim that an Idempotency-Key makes, or None. Raises InvalidRequest."""
    text = exchange.headers.get(HEADER)
    if text is None:
        return None
    if not 0 < len(text) <= LONGEST_KEY:
        raise InvalidRequest(
            f"The header Idempotency-Key must have 1 to {LONGEST_KEY} characters.", param=HEADER
        )
    now = dt.datetime.now(dt.UTC)
    return Claim(
        id=_digest(f"key:{caller.account_id}:{text}".encode()),
        body_digest=_digest(f"body:{api}:".encode() + exchange.raw),
        expires_at=now + LIFETIME,
    )


async def find(claim: Claim, caller: Caller) -> Kept | None:
    """Return the answer that is kept under the claimed key, or None if the key is free.

    Raises Conflict while another request has the key or if its answer wasn't kept, Unprocessable
    if the key was used for another body, and Unavailable without a database.
    """
    try:
        return await read_in_thread(_find, claim, caller)
    except DatabaseError as error:
        raise Unavailable("Kyma can't look up the Idempotency-Key. Try again shortly.") from error


def _find(claim: Claim, caller: Caller) -> Kept | None:
    row = IdempotentRequest.objects.standing(dt.datetime.now(dt.UTC)).filter(pk=claim.id).first()
    if row is None:
        return None
    if row.body_digest != claim.body_digest:
        raise Unprocessable(
            "This Idempotency-Key was used for another request: use a new one for each.",
            param=HEADER,
            code="idempotency_key_reused",
        )
    if row.completed_at is None:
        raise in_flight()
    if row.answer is None:
        raise Conflict(
            "This request was answered before, and the answer wasn't kept: its API key keeps no "
            f"content, it was longer than {MAX_KEPT_BYTES:,} bytes, or the account had stored as "
            "much as it may within a day. Nothing was charged for asking again.",
            code="content_not_retained",
            metadata=_known_of(row),
        )
    return Kept.opened(row.answer, row.place, caller)


def _known_of(row: IdempotentRequest) -> dict:
    """Return the id and the usage of an answer that wasn't kept."""
    request = ApiRequest.objects.filter(pk=row.request_id, account=row.account_id).first()
    if request is None:
        return {}
    return {
        "generation_id": answer_id(request.api, request.id.hex),
        "usage": usage_object(usage_of(request), request.cost_nano),
    }


def in_flight() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is being answered. Wait for that answer.",
        code="idempotency_key_in_use",
        headers={"Retry-After": "1"},  # For callers who repeat it; no package does by itself.
    )


def completed(claim: Claim, kept: Kept, caller: Caller) -> ClaimEnd:
    """Return the end of a claim whose answer is complete."""
    return ClaimEnd(claim.id, is_complete=True, answer=kept.sealed(claim, caller))


def freed(claim: Claim) -> ClaimEnd:
    """Return any other end of a claim: the key can be used again."""
    return ClaimEnd(claim.id, is_complete=False)


def _digest(text: bytes) -> str:
    """Return a keyed digest, from which nobody can guess the text."""
    return hmac.digest(settings.SECRET_KEY.encode(), text, hashlib.sha256).hex()
