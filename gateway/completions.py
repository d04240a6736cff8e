"""The story of one answer, from its key to its receipt: chat, text or embeddings.

    1 authenticate   whose key is it?
    2 admit          may the account ask anything at all?
    3 resolve        which routes lead to the model?
    4 reserve        set aside the most that it can cost
    5 forward        try the routes until one begins to answer
    6 relay          hand on what comes, and count it
    7 settle         charge what was used, log it, keep its content: one transaction
    8 finish         the last byte leaves only now: a complete answer always has its receipt

`begin` tells 1 to 5; `Completion.events` and `Completion.body` tell the rest.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator

import orjson
from django.conf import settings

from billing.ledger import Grant
from gateway import errors, json_body, relay, settlement
from gateway.authentication import Caller, authenticate
from gateway.batch import HoldClosed
from gateway.call import Call, ClientGone
from gateway.commit_queue import CommitFailed
from gateway.dialects import Dialect, Opening, Stream
from gateway.errors import GatewayError, InternalError
from gateway.forwarding import Forwarding
from gateway.metering import Ending
from gateway.models import ApiRequest
from gateway.provider_request import ProviderRequest
from gateway.relay import Identity
from gateway.request_log import RequestRecord
from gateway.reservation import ask_for, reserve
from gateway.routing import resolve
from gateway.upstream_errors import UpstreamFailed

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499  # nginx's number for it; no client ever sees it.
# Nothing more to send, but the next is asked for only when all before has left this process.
FLUSH = b""

# Settlements that outlive their request: its client is gone, its money isn't.
_settling: set[asyncio.Task] = set()


async def begin(call: Call, dialect: Dialect) -> "Completion":
    """Steps 1 to 5: returns once a provider has begun to answer.

    Raises GatewayError; then the request is logged, and nothing is held or charged.
    """
    caller = await authenticate(call.headers)
    completion = Completion(call, caller, dialect)
    try:
        admit(caller)
        await completion.read()
        await completion.reserve()
        await completion.forward()
    except GatewayError as error:
        await completion.refuse(error)
        raise
    except (ClientGone, asyncio.CancelledError):
        completion.abandon()
        raise
    except Exception as error:  # The outermost edge: a fault of ours must not leave a hold.
        log_fault(call.id, error)
        await completion.refuse(masked := InternalError("Kyma failed. Nothing was charged."))
        raise masked from error
    return completion


def admit(caller: Caller) -> None:
    """Raises Forbidden when the account may not use the gateway."""
    if caller.is_suspended:
        raise errors.Forbidden(
            "This account is suspended. Write to privacy@kymaapi.com.", code="account_suspended"
        )


class Completion:
    """One answer between its key and its receipt.

    `content` is the whole answer as JSON, with what it is going to cost, unless it is streamed.
    """

    chat: ProviderRequest
    forwarding: Forwarding
    identity: Identity
    content: bytes = b""

    def __init__(self, call: Call, caller: Caller, dialect: Dialect):
        self.call = call
        self.caller = caller
        self.dialect = dialect
        self.record: RequestRecord = call.record(caller, dialect.api)
        self._transcript = relay.Transcript()
        self._grant: Grant | None = None
        self._is_logged = False
        self._settlement: asyncio.Task | None = None

    async def read(self) -> None:
        """Take in the body. Raises GatewayError."""
        self._body = json_body.parse(await self.call.read_json_body())
        self.call.is_json = True
        self.chat = self.dialect.read(self._body)
        self.record.streamed = self.chat.stream
        self.record.images = self.chat.images

    # --- 3 resolve, 4 reserve

    async def reserve(self) -> None:
        """Find the routes and hold the most that any of them can cost. Raises GatewayError."""
        entry, routes = await resolve(self.chat, self.caller)
        self.record.model = entry.slug
        self.record.price_version_id = routes[0].price_version_id
        ask = ask_for(self.chat, entry, routes)
        self._grant = await reserve(self.record, ask, self.record.price_version_id)
        deadline = self.call.started + settings.REQUEST_TOTAL_TIMEOUT_S
        self.forwarding = Forwarding(
            self.chat, routes, self._grant.max_tokens, self.record, deadline
        )

    # --- 5 forward

    async def forward(self) -> None:
        """Return once a provider has begun to answer. Raises GatewayError."""
        begun_ms = self.call.elapsed_ms()
        try:
            await self.forwarding.open()
            self.record.first_token_ms = self.call.elapsed_ms()
            self._identify()
            self.content = b"" if self.chat.stream else self._content()
        except UpstreamFailed as failure:
            raise failure.gateway_error() from failure
        self.record.status = 200
        self.record.overhead_ms = round(
            begun_ms + self.call.elapsed_ms() - self.record.first_token_ms, 3
        )

    def _identify(self) -> None:
        route = self.forwarding.route
        self.record.route_id = route.route_id
        self.record.provider = route.provider
        self.record.price_version_id = route.price_version_id
        self.identity = Identity(
            id=f"{self.chat.endpoint.id_prefix}{self.call.id}",
            created=int(time.time()),
            model=self.record.model,
            provider=route.provider_name,
            endpoint=self.chat.endpoint,
        )

    # --- 6 relay

    async def events(self) -> AsyncIterator[bytes]:
        """The stream's bytes. What was yielded counts as delivered once the next is asked for."""
        stream, opening = self.dialect.open(self._opening())
        try:
            async for written in self._written(stream, opening):
                yield written
            yield FLUSH
            charged = await self.settle(Ending.FINISHED)
        except UpstreamFailed as failure:
            self.forwarding.note(failure)
            error = failure.gateway_error()
            await self._break_off(error)
            yield stream.fail(error)
        except (CommitFailed, HoldClosed) as failure:
            logger.error("request %s could not be settled: %r", self.call.id, failure)
            yield stream.fail(InternalError("Kyma could not settle this answer."))
        else:
            yield stream.finish(self._usage(charged))

    async def _written(self, stream: Stream, written: bytes) -> AsyncIterator[bytes]:
        """What the stream writes from `written` on, counting what has been handed over."""
        waiting = 0  # Bytes of content that the stream keeps until it knows what follows.
        async for counted in self._chunks():
            if counted is None:
                written += stream.ping()
            else:
                chunk, size = counted
                written += stream.feed(chunk)
                waiting += size
            if written:
                yield written
                written = b""
                if counted is not None:  # A ping hands over nothing of what waits.
                    self.forwarding.meter.delivered_bytes += waiting
                    waiting = 0
        if written:  # The provider said nothing at all.
            yield written

    def _opening(self) -> Opening:
        prompt_tokens = self.forwarding.meter.prompt_estimate
        return Opening(self.identity, self.chat, self._body, prompt_tokens)

    async def _chunks(self) -> AsyncIterator[tuple[dict, int] | None]:
        """Each chunk, made ours, with the bytes of content in it; None in a silent gap."""
        for first in self.forwarding.chunks:
            if own := self._own(*first):
                yield own
        async for counted in self.forwarding.rest():
            if counted is None:
                yield None
            elif own := self._own(*counted):
                yield own

    def _own(self, chunk: dict, size: int) -> tuple[dict, int] | None:
        own = relay.own_chunk(chunk, self.identity, include_usage=self.chat.include_usage)
        if own is None:
            return None
        self._transcript.add(own)
        return own, size

    async def body(self) -> AsyncIterator[bytes]:
        """`content` but for its last byte; that follows once the answer is settled."""
        yield self.content[:-1]
        yield FLUSH
        self.forwarding.meter.delivered_bytes = self.forwarding.meter.seen_bytes
        await self.settle(Ending.FINISHED)
        yield self.content[-1:]

    def _content(self) -> bytes:
        answer = relay.own(self.forwarding.answer or {}, self.identity)
        return orjson.dumps(self.dialect.whole(answer, self._usage(self.cost_nano), self._body))

    # --- 7 settle

    @property
    def cost_nano(self) -> int:
        """What the answer costs once it is finished: never more than is held."""
        bill = self.forwarding.meter.bill(Ending.FINISHED)
        cost = settlement.price_of(bill, self.forwarding.route.price)
        return min(cost, self._grant.amount_nano) if self._grant else cost

    async def settle(self, ending: Ending) -> int:
        """Charge and log, whatever becomes of the client meanwhile. Returns nano-dollars.

        Raises CommitFailed, HoldClosed: then nothing is charged.
        """
        return await asyncio.shield(self._begin_to_settle(ending))

    def _begin_to_settle(self, ending: Ending) -> asyncio.Task:
        if self._settlement is None:
            self._settlement = asyncio.create_task(self._settle(ending))
            _settling.add(self._settlement)
            self._settlement.add_done_callback(_settled)
        return self._settlement

    async def _settle(self, ending: Ending) -> int:
        record = self.record
        record.outcome = ending.value
        if ending is Ending.CLIENT_GONE:
            await self.forwarding.let_go()
        else:
            self.forwarding.close()
        cost = self._take_bill(ending)
        record.latency_ms = self.call.elapsed_ms()
        content = settlement.sealed_content(self.call, self.caller, self._said())
        return await settlement.settle(record, cost, content)

    def _take_bill(self, ending: Ending) -> int:
        meter, record = self.forwarding.meter, self.record
        bill = meter.bill(ending)
        record.count(bill.usage)
        record.estimated, record.flagged = bill.estimated, bill.flagged
        reason = str(meter.finish_reasons.get(0, ""))
        record.finish_reason = reason.replace("\0", "")[:24]  # Postgres takes no NUL.
        record.upstream_cost_nano = self.forwarding.upstream_cost(bill)
        if ending is Ending.FINISHED and not meter.seen_bytes:
            record.outcome = ApiRequest.Outcome.EMPTY
        if bill.flagged:
            logger.warning("request %s: absurd usage from %s", record.id, record.provider)
        return settlement.price_of(bill, self.forwarding.route.price)

    def _said(self) -> object:
        """The answer, for the content log."""
        answer = self.forwarding.answer
        return self.chat.said(answer) if answer else self._transcript.messages()

    async def refuse(self, error: GatewayError) -> None:
        """Log a request that got an error instead of an answer, and let go of its hold."""
        record = self.record
        record.status, record.error_type = error.status, error.error_type
        if isinstance(error, errors.ContextTooLong):
            error.param = self.dialect.prompt_field
        if self._grant is not None:
            await self._settle_quietly(Ending.UPSTREAM_FAILED)
        else:
            self._log(ApiRequest.Outcome.REFUSED)

    def abandon(self, ending: Ending = Ending.CLIENT_GONE) -> None:
        """Nobody gets the rest: the client is gone, or a fault of ours broke the answer off.

        Safe at any time: what has been settled stays settled.
        """
        if self._settlement is not None or self._is_logged:
            return
        self.record.status = self.record.status or CLIENT_CLOSED_REQUEST
        if self._grant is not None:
            self._begin_to_settle(ending)
        else:
            self._log(ApiRequest.Outcome.CLIENT_GONE)

    def _log(self, outcome: ApiRequest.Outcome) -> None:
        self._is_logged = True
        self.record.outcome = outcome
        self.record.latency_ms = self.call.elapsed_ms()
        settlement.log(self.record, settlement.sealed_content(self.call, self.caller, None))

    async def _settle_quietly(self, ending: Ending) -> None:
        try:
            await self.settle(ending)
        except (CommitFailed, HoldClosed) as failure:
            logger.error("request %s: hold left to the sweeper: %r", self.call.id, failure)

    # --- 8 finish

    def _usage(self, charged: int) -> dict:
        return relay.usage_object(self.forwarding.meter.bill(Ending.FINISHED).usage, charged)

    async def _break_off(self, error: GatewayError) -> None:
        self.record.error_type = error.error_type
        await self._settle_quietly(Ending.UPSTREAM_FAILED)


async def finish_settling() -> None:
    """Wait for the settlements of clients that are gone. Called when the process ends."""
    while _settling:
        await asyncio.wait(_settling)


def log_fault(request_id: str, error: Exception) -> None:
    """Log a fault of ours by its place alone: its message could hold what a person wrote."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request %s: %s\n%s", request_id, type(error).__name__, frames)


def _settled(task: asyncio.Task) -> None:
    _settling.discard(task)
    if not task.cancelled() and task.exception() is not None:
        logger.error("settlement failed: %r", task.exception())
