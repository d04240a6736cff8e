"""Settling a request: its price, its charge and its content, in one durable operation."""

import asyncio
import base64
import datetime as dt
import logging
import time
from collections.abc import Coroutine
from typing import Any

import orjson
from django.conf import settings

from billing.pricing import Price, Usage, cost_nano
from gateway.access import content_budget
from gateway.access.authentication import Caller
from gateway.commits import queue as commit_queue
from gateway.commits.operations import ClaimEnd, Content, HoldClosed, Log, Settle
from gateway.commits.queue import CommitFailed
from gateway.commits.record import RequestRecord
from gateway.dialects.chat.answer import finish_meaning
from gateway.models import ApiRequest, ContentLeftOut, content_place
from gateway.providers.metering import Bill, Ending
from gateway.serving import metrics
from gateway.serving.exchange import Exchange
from gateway.serving.forwarding import Forwarding

logger = logging.getLogger(__name__)

_LONGEST_WORD = 24  # characters, like the column

# The settlements of this process. They outlive their requests, whose clients may be gone.
_running: set[asyncio.Task] = set()


def take_bill(
    record: RequestRecord,
    forwarding: Forwarding,
    ending: Ending,
    *,
    calls_tools: bool,
    broke_off: bool,
) -> tuple[Usage, int]:
    """Note in `record` how the answer ended, and what it used and cost Kyma.

    Return the usage and its price in nano-dollars; the caller pays no more than the hold.
    `broke_off` says that the answer ended with an error after it had begun.
    """
    meter = forwarding.meter
    is_empty = ending is Ending.FINISHED and not meter.seen_bytes
    record.outcome = ApiRequest.Outcome.EMPTY if is_empty else ending.value
    bill = meter.bill(ending)
    record.count(bill.usage)
    record.estimated, record.flagged = bill.estimated, bill.flagged
    native = meter.finish_reasons.get(0)
    note_finish_reason(record, native, calls_tools=calls_tools, broke_off=broke_off)
    record.upstream_cost_nano = forwarding.upstream_cost(bill)
    return bill.usage, price_of(bill, forwarding.route.price)


def price_of(bill: Bill, price: Price) -> int:
    """Return what the caller is to pay, in nano-dollars, before the hold caps it."""
    return 0 if bill.is_free else cost_nano(price, bill.usage)


def note_finish_reason(
    record: RequestRecord, native: Any, *, calls_tools: bool, broke_off: bool
) -> None:
    """Log why the answer ended, in the words of the chat API.

    A provider's own word, if it differs, is kept with the attempt: few have one.
    """
    own_word = str(native or "").replace("\0", "")[:_LONGEST_WORD]  # Postgres takes no NUL.
    is_whole_stream = record.streamed and record.outcome == ApiRequest.Outcome.FINISHED
    known = own_word or is_whole_stream  # Every whole stream has a reason, even unsaid.
    meaning = finish_meaning(native, called=calls_tools) if known else ""
    record.finish_reason = "error" if broke_off else meaning
    if own_word != record.finish_reason:
        record.attempts[-1]["finish_reason"] = own_word


async def settle(
    record: RequestRecord, cost: int, content: Content | None, claim_end: ClaimEnd | None = None
) -> int:
    """Charge `cost` against the hold, durably. Return the nano-dollars charged.

    Raises CommitFailed, HoldClosed: then nothing is charged. If it was committed after all, the
    charge is reversed and the hold closed as soon as the database answers.
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


def in_own_task(settling: Coroutine[Any, Any, int]) -> asyncio.Task[int]:
    """Settle in a task that runs to its end even if the request is cancelled."""
    task = asyncio.create_task(settling)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task) -> None:
    _running.discard(task)
    metrics.open_holds.dec()
    if not task.cancelled() and task.exception() is not None:
        logger.error("settlement failed: %r", task.exception())


def are_running() -> bool:
    """True while this process settles a request."""
    return bool(_running)


async def wait_for_all() -> None:
    """Wait for all settlements of this process. Called when it ends."""
    while _running:
        await asyncio.wait(_running)


def log(record: RequestRecord) -> None:
    """Log a request that held nothing, without waiting for the commit.

    No provider was asked, so there are counts and timing, and no content (P2).
    """
    commit_queue.queue().log_soon(Log(record))
    metrics.observe(record)


async def kept(
    exchange: Exchange, caller: Caller, record: RequestRecord, answer: object, end: ClaimEnd | None
) -> tuple[Content | None, ClaimEnd | None]:
    """Return the sealed content of a request that reached a provider, and the end of its claim.

    Both are without content if the key keeps nothing (P2). If it is too much for the account's
    budget of today, they are too, and `record` says so.
    """
    if caller.retention_days == 0:
        return None, end
    plain = _plain(exchange, answer)
    replay = (end and end.answer) or ""
    if not await content_budget.take(caller, len(plain) + len(replay)):
        record.content_left_out = ContentLeftOut.BUDGET.value
        return None, end and end.without_answer()
    return _sealed(plain, exchange, caller), end


def _plain(exchange: Exchange, answer: object) -> bytes:
    """Return messages, answer, IP address and user agent."""
    return orjson.dumps(
        {
            "request": _request(exchange),
            "answer": answer,
            "ip": exchange.ip,
            "user_agent": exchange.user_agent,
        }
    )


def _sealed(plain: bytes, exchange: Exchange, caller: Caller) -> Content:
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
