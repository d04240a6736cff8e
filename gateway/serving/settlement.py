"""Closing a request: what it cost, what it said, one durable operation."""

import asyncio
import base64
import datetime as dt
import logging
import time
from collections.abc import Coroutine
from typing import Any

import orjson
from django.conf import settings

from billing.pricing import Price, cost_nano
from gateway.access.authentication import Caller
from gateway.commits import queue as commit_queue
from gateway.commits.operations import ClaimEnd, Content, HoldClosed, Log, Settle
from gateway.commits.queue import CommitFailed
from gateway.commits.record import RequestRecord
from gateway.dialects.chat.answer import finish_meaning
from gateway.models import ApiRequest, content_place
from gateway.providers.metering import Bill
from gateway.serving import metrics
from gateway.serving.exchange import Exchange

logger = logging.getLogger(__name__)

_LONGEST_WORD = 24  # characters, as the column

# Those of this process: they outlive their request, whose client may be gone.
_open: set[asyncio.Task] = set()


def price_of(bill: Bill, price: Price) -> int:
    """What the caller is to pay, in nano-dollars, before the hold caps it."""
    return 0 if bill.is_free else cost_nano(price, bill.usage)


def note_finish(record: RequestRecord, native: Any, *, called: bool, broke_off: bool) -> None:
    """Log why the answer ended, as it told itself: each whole stream does. Where its provider has
    another word for that, or none, this stands with the attempt: few have.

    `broke_off` says that it ended with an error, once it had begun.
    """
    own_word = str(native or "").replace("\0", "")[:_LONGEST_WORD]  # Postgres takes no NUL.
    is_whole_stream = record.streamed and record.outcome == ApiRequest.Outcome.FINISHED
    told = finish_meaning(native, called=called) if own_word or is_whole_stream else ""
    record.finish_reason = "error" if broke_off else told
    if own_word != record.finish_reason:
        record.attempts[-1]["finish_reason"] = own_word


async def settle(
    record: RequestRecord, cost: int, content: Content | None, claim_end: ClaimEnd | None = None
) -> int:
    """Charge `cost` against the hold, durably. Returns what was charged.

    Raises CommitFailed, HoldClosed: then nothing is charged. What turns out to be committed after
    all is given back, and the hold is closed, as soon as the database answers.
    """
    operation = Settle(record, cost, dt.datetime.now(dt.UTC), content, claim_end)
    begun = time.monotonic()
    try:
        charged = await commit_queue.queue().submit(operation, settings.SETTLE_TIMEOUT_S)
    except (CommitFailed, HoldClosed):
        metrics.observe(record, ApiRequest.Outcome.LOST)  # As the sweeper will log it.
        raise
    metrics.observe(record)
    metrics.observe_settlement(time.monotonic() - begun)
    return charged


def begin(settling: Coroutine[Any, Any, int]) -> asyncio.Task[int]:
    """Settle in a task of its own, which ends whatever becomes of the request."""
    task = asyncio.create_task(settling)
    _open.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task) -> None:
    _open.discard(task)
    metrics.open_holds.dec()
    if not task.cancelled() and task.exception() is not None:
        logger.error("settlement failed: %r", task.exception())


def are_open() -> bool:
    return bool(_open)


async def finish() -> None:
    """Wait for those that have begun. Called when the process ends."""
    while _open:
        await asyncio.wait(_open)


def log(record: RequestRecord, content: Content | None) -> None:
    """Log a request that held nothing, some time soon."""
    commit_queue.queue().log_soon(Log(record, content))
    metrics.observe(record)


def sealed_content(exchange: Exchange, caller: Caller, answer: object) -> Content | None:
    """Messages, answer, IP address and user agent, sealed; None if the key keeps nothing (P2)."""
    if caller.retention_days == 0:
        return None
    plain = orjson.dumps(
        {
            "request": _request(exchange),
            "answer": answer,
            "ip": exchange.ip,
            "user_agent": exchange.user_agent,
        }
    )
    sealed = caller.cipher.seal(plain, content_place(exchange.id))
    now = dt.datetime.now(dt.UTC)
    return Content(
        base64.b64encode(sealed).decode(), now + dt.timedelta(days=caller.retention_days)
    )


def _request(exchange: Exchange) -> orjson.Fragment | str | None:
    """Return the body as it came: as JSON if it is JSON, and as text otherwise."""
    if exchange.is_json:
        return orjson.Fragment(exchange.raw)
    return exchange.raw.decode(errors="replace") or None
