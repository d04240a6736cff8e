"""The story of one answer, from its key to its receipt: chat, text or embeddings.

    1 authenticate   whose key is it?
    2 admit          may the account ask anything at all?
    3 resolve        which routes lead to the model, and do the rate limits allow one more?
    4 reserve        set aside the most that it can cost: written while the provider is asked
    5 forward        try the routes until one begins to answer
    6 relay          hand on what comes, and count it
    7 settle         charge what was used, log it, keep its content: one transaction
    8 finish         the last byte leaves only now: a complete answer always has its receipt

`begin` tells 1 to 5; `Completion.events` and `Completion.body` tell the rest. A request that was
answered before, under the same Idempotency-Key, ends after 2 with that answer.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncGenerator, Mapping

import orjson
from django.conf import settings

from billing.ledger import Ask
from billing.pricing import Usage, usd
from gateway import errors
from gateway.access import limits
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller, authenticate
from gateway.catalogue.entries import Candidate
from gateway.commits.operations import Claim, ClaimEnd, HoldClosed, KeyTaken
from gateway.commits.queue import CommitFailed
from gateway.commits.record import RequestRecord
from gateway.dialects.apis import Dialect, Opening
from gateway.dialects.chat.chunks import Identity, own, usage_object
from gateway.dialects.request import ProviderRequest
from gateway.errors import GatewayError, InternalError
from gateway.failures import UpstreamFailed
from gateway.models import ApiRequest
from gateway.providers.metering import Ending
from gateway.receipts.generation import answer_id
from gateway.routing.resolution import Resolution, resolve
from gateway.serving import idempotency, sessions, settlement
from gateway.serving.delivery import Delivery
from gateway.serving.exchange import ClientGone, Exchange
from gateway.serving.forwarding import Forwarding
from gateway.serving.idempotency import Kept
from gateway.serving.reservation import Reservation, ask_for, reserve, tokens_of
from gateway.wire import body as json_body

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499  # nginx's number for it; no client ever sees it.
# Nothing more to send, but the next is asked for only when all before has left this process.
FLUSH = b""


async def begin(exchange: Exchange, dialect: Dialect) -> "Completion":
    """Steps 1 to 5: returns once a provider has begun to answer.

    Raises GatewayError; then the request is logged, and nothing is held or charged.
    """
    completion = Completion(exchange, await authenticate(exchange.headers), dialect)
    try:
        await proceed(completion)
    except (ClientGone, asyncio.CancelledError):
        completion.abandon(exchange.broken_off_as)
        raise
    return completion


async def proceed(completion: "Completion") -> None:
    """Steps 2 to 5 for a caller who is known. Raises as `begin` does.

    Whoever cancels it, or raises ClientGone, abandons the completion: they know why it ends.
    """
    exchange, caller = completion.exchange, completion.caller
    try:
        admit(caller, exchange.ip)
        key_rules.refuse_management(caller)
        await completion.read()
        await completion.look_up()
        if completion.kept is None:
            await completion.reserve()
        if completion.kept is None:
            await completion.forward()
    except GatewayError as error:
        told = await completion.refuse(error)
        if told is error:
            raise
        raise told from error
    except ClientGone:
        raise
    except Exception as error:  # The outermost edge: a fault of ours must not leave a hold.
        log_fault(exchange.id, error)
        masked = InternalError("Kyma failed. Nothing was charged.")
        raise await completion.refuse(masked) from error


def admit(caller: Caller, ip: str) -> None:
    """Raises Forbidden when the account may not use the gateway, or its key not from here."""
    key_rules.check_state(caller.state)
    key_rules.check_address(caller, ip)


class Completion:
    """One answer between its key and its receipt.

    `content` is the whole answer as JSON, unless it is streamed; `cost_nano` what the caller pays
    for it, known once it is whole; `limit_headers` tell how the rate limits stand. `kept` is the
    answer to give instead when the same request was answered before.
    """

    request: ProviderRequest
    _resolution: Resolution
    forwarding: Forwarding
    identity: Identity
    content: bytes = b""
    cost_nano: int
    limit_headers: Mapping[str, str] = {}
    kept: Kept | None = None

    def __init__(self, exchange: Exchange, caller: Caller, dialect: Dialect):
        self.exchange = exchange
        self.caller = caller
        self.dialect = dialect.under(caller.cipher)
        self.record: RequestRecord = exchange.new_record(caller, dialect.api)
        self._delivery: Delivery | None = None
        self._reservation: Reservation | None = None
        self._claim: Claim | None = None
        self._is_counted = False
        self._is_logged = False
        self._settlement: asyncio.Task | None = None

    async def read(self) -> None:
        """Take in the body. Raises GatewayError."""
        self._body = json_body.parse(await self.exchange.read_json_body())
        self.exchange.is_json = True
        self.request = self.dialect.read(self._body)
        self.record.streamed = self.request.stream
        self.record.images = self.request.images
        self.record.session_hash = sessions.session_hash(
            self.request, self.exchange.headers, self.caller.account_id
        )
        self.record.user_hash = sessions.user_hash(self.request, self.caller.account_id)

    async def look_up(self) -> None:
        """Find what was answered before under its Idempotency-Key. Raises GatewayError."""
        self._claim = idempotency.claim_of(self.exchange, self.caller, self.dialect.api)
        if self._claim is not None:
            await self._find_kept(self._claim)

    async def _find_kept(self, claim: Claim) -> None:
        self.kept = await idempotency.find(claim, self.caller)
        if self.kept is not None:
            self.limit_headers = await limits.count(self.caller)
            self.record.status = 200
            self._log(ApiRequest.Outcome.REPLAYED)

    # --- 3 resolve, 4 reserve

    async def reserve(self) -> None:
        """Find the routes and hold the most that any of them can cost. Raises GatewayError."""
        self._resolution = await resolve(self.request, self.caller, self.record.session_hash)
        routes = self._resolution.routes
        self._name_route(routes[0])
        ask = ask_for(self.request, routes)
        await self._count(ask)
        try:
            version = routes[0].price_version_id
            self._reservation = await reserve(self.record, ask, version, self._claim)
        except KeyTaken as taken:
            await self._find_kept(taken.claim)
            if self.kept is None:  # Freed meanwhile: whoever asks again may have it.
                raise idempotency.in_flight() from taken
            return
        max_tokens = self._reservation.grant.max_tokens
        deadline = self.exchange.started + settings.REQUEST_TOTAL_TIMEOUT_S
        self.forwarding = Forwarding(self.request, routes, max_tokens, self.record, deadline)

    async def _count(self, ask: Ask) -> None:
        """Count it against the rate limits. Raises TooManyRequests, RequestTooLarge."""
        routes = self._resolution.routes
        models = dict.fromkeys(route.model for route in routes)
        likely, most = tokens_of(self.request, routes[0], ask)
        self.limit_headers = await limits.admit(
            self.caller, models, likely_tokens=likely, most_tokens=most
        )
        self._is_counted = True

    def _name_route(self, route: Candidate) -> None:
        self.record.model = route.model
        self.record.alias = self._resolution.aliases.get(route.model, "")
        self.record.price_version_id = route.price_version_id

    # --- 5 forward

    async def forward(self) -> None:
        """Return once a provider has begun to answer. Raises GatewayError."""
        begun_ms = self.exchange.elapsed_ms()
        try:
            await self.forwarding.open()
            self.record.first_token_ms = self.exchange.elapsed_ms()
            await self._wait_for_hold()
            self._identify()
            self.content = b"" if self.request.stream else self._content()
        except UpstreamFailed as failure:
            await self._wait_for_hold()  # Without one there is nothing to settle.
            raise failure.gateway_error().after(len(self.record.attempts)) from failure
        self.record.status = 200
        own_ms = begun_ms + self.exchange.elapsed_ms() - self.record.first_token_ms
        self.record.overhead_ms = round(own_ms, 3)

    async def _wait_for_hold(self) -> None:
        """It was written while the provider was asked. Raises GatewayError if it couldn't be."""
        try:
            if self._reservation is not None:
                await self._reservation.durable()
        except GatewayError:
            self._reservation = None
            self.forwarding.close()
            raise

    def _identify(self) -> None:
        route = self.forwarding.route
        self._name_route(route)
        self.record.route_id = route.route_id
        self.record.provider = route.provider
        self.identity = Identity(
            id=f"{self.request.endpoint.id_prefix}{self.exchange.id}",
            created=int(time.time()),
            model=self.record.model,
            provider=route.provider_name,
            endpoint=self.request.endpoint,
        )

    @property
    def content_type(self) -> str:
        return "text/event-stream; charset=utf-8" if self.request.stream else "application/json"

    @property
    def headers(self) -> dict[str, str]:
        """What the head of the answer says of it."""
        record = self.record
        headers = {
            "X-Generation-Id": answer_id(record.api, record.id),
            "x-kyma-model": record.model,
            "x-kyma-provider": record.provider,
            "x-kyma-attempts": str(len(record.attempts)),
            "x-kyma-overhead-ms": str(record.overhead_ms),
        }
        if record.alias:
            headers["x-kyma-alias"] = record.alias
        if not self.request.stream:
            headers["x-kyma-cost"] = usd(self.cost_nano)
        return headers

    # --- 6 relay

    async def events(self) -> AsyncGenerator[bytes]:
        """The stream's bytes. What was yielded counts as delivered once the next is asked for."""
        stream, opening = self.dialect.open(self._opening())
        self._delivery = delivery = Delivery(
            self.forwarding,
            stream,
            self.identity,
            include_usage=self.request.include_usage,
            keeps_bytes=self._claim is not None and self.caller.retention_days > 0,
        )
        try:
            async for written in delivery.write(opening):
                yield written
            yield FLUSH
            end = delivery.note(stream.finish(self._finish()))
            await self.settle(Ending.FINISHED)
        except UpstreamFailed as failure:
            self.forwarding.note(failure)
            error = failure.gateway_error()
            self.record.error_type = error.error_type
            await self._settle_quietly(Ending.UPSTREAM_FAILED)
            yield stream.fail(error)
        except (CommitFailed, HoldClosed) as failure:
            logger.error("request %s could not be settled: %r", self.exchange.id, failure)
            yield stream.fail(InternalError("Kyma could not settle this answer."))
        else:
            yield end

    def _opening(self) -> Opening:
        prompt_tokens = self.forwarding.meter.prompt_estimate
        return Opening(self.identity, self.request, self._body, prompt_tokens)

    async def body(self) -> AsyncGenerator[bytes]:
        """`content` but for its last byte: once this has ended, the answer is settled."""
        yield self.content[:-1]
        yield FLUSH
        self.forwarding.meter.delivered_bytes = self.forwarding.meter.seen_bytes
        await self.settle(Ending.FINISHED)

    def _content(self) -> bytes:
        answer = own(self.forwarding.answer or {}, self.identity)
        return orjson.dumps(self.dialect.whole(answer, self._finish(), self._body))

    # --- 7 settle

    def _finish(self) -> dict:
        """The answer is whole: its usage as the caller is told, who pays at most what is held."""
        assert self._reservation is not None
        usage = self._take_bill(Ending.FINISHED)
        self.cost_nano = min(self._price_nano, self._reservation.grant.amount_nano)
        return usage_object(usage, self.cost_nano)

    async def settle(self, ending: Ending) -> int:
        """Charge and log, whatever becomes of the client meanwhile. Returns nano-dollars.

        Raises as `settlement.settle` does.
        """
        return await asyncio.shield(self._begin_to_settle(ending))

    async def settled(self) -> None:
        """Wait until what was begun is settled; then `record` says what it cost.

        Raises as `settlement.settle` does.
        """
        if self._settlement is not None:
            await asyncio.shield(self._settlement)

    def _begin_to_settle(self, ending: Ending) -> asyncio.Task:
        if self._settlement is None:
            self._settlement = settlement.begin(self._settle(ending))
        return self._settlement

    async def _settle(self, ending: Ending) -> int:
        record = self.record
        if ending is Ending.CLIENT_GONE:
            await self.forwarding.let_go()
        else:
            self.forwarding.close()
        if ending is not Ending.FINISHED:  # A finished answer has told its own.
            self._take_bill(ending)
        if record.flagged:
            logger.warning("request %s: absurd usage from %s", record.id, record.provider)
        record.latency_ms = self.exchange.elapsed_ms()
        content = settlement.sealed_content(self.exchange, self.caller, self._said())
        return await settlement.settle(record, self._price_nano, content, self._claim_end(ending))

    def _claim_end(self, ending: Ending) -> ClaimEnd | None:
        if self._claim is None:
            return None
        if ending is not Ending.FINISHED:
            return idempotency.freed(self._claim)
        body = self._delivery.written if self._delivery else self.content
        kept = Kept(self.headers, self.content_type, body)
        return idempotency.completed(self._claim, kept, self.caller)

    def _take_bill(self, ending: Ending) -> Usage:
        meter, record = self.forwarding.meter, self.record
        is_empty = ending is Ending.FINISHED and not meter.seen_bytes
        record.outcome = ApiRequest.Outcome.EMPTY if is_empty else ending.value
        bill = meter.bill(ending)
        record.count(bill.usage)
        record.estimated, record.flagged = bill.estimated, bill.flagged
        broke_off = self._delivery is not None and ending.is_failure
        called = (self._delivery or self.forwarding).calls_tools
        native = meter.finish_reasons.get(0)
        settlement.note_finish(record, native, called=called, broke_off=broke_off)
        record.upstream_cost_nano = self.forwarding.upstream_cost(bill)
        self._price_nano = settlement.price_of(bill, self.forwarding.route.price)
        return bill.usage

    def _said(self) -> object:
        """The answer, for the content log."""
        if self.forwarding.answer:
            return self.request.said(self.forwarding.answer)
        return self._delivery.said if self._delivery else []

    async def refuse(self, error: GatewayError) -> GatewayError:
        """Log a request that gets an error instead of an answer, and let go of its hold.

        Returns the error to tell: another one if the account may not even ask in vain.
        """
        told = await self._count_refusal(error)
        self._add_details(told)
        await self._close(told)
        return told

    async def _count_refusal(self, error: GatewayError) -> GatewayError:
        if not self._is_counted and not isinstance(error, errors.TooManyRequests):
            try:
                await limits.count_refusal(self.caller, error)
            except errors.TooManyRequests as limit:
                return limit
        return error

    def _add_details(self, error: GatewayError) -> None:
        """Add what only this request can tell."""
        if isinstance(error, errors.TooManyRequests):
            error.headers = {**self.limit_headers, **error.headers}
        if isinstance(error, errors.ContextTooLong):
            error.param = self.dialect.prompt_field

    async def _close(self, error: GatewayError) -> None:
        self.record.status, self.record.error_type = error.status, error.error_type
        is_ours = isinstance(error, InternalError)
        if self._reservation is not None:
            await self._settle_quietly(Ending.KYMA_FAILED if is_ours else Ending.UPSTREAM_FAILED)
        else:
            outcome = ApiRequest.Outcome
            self._log(outcome.KYMA_FAILED if is_ours else outcome.REFUSED)

    def abandon(self, ending: Ending) -> None:
        """Nobody gets the rest: the client is gone, or a fault or the end of ours broke it off.

        Safe at any time: what has been settled stays settled.
        """
        if self._settlement is not None or self._is_logged:
            return
        is_ours = ending is Ending.KYMA_FAILED
        if is_ours:
            self.record.error_type = InternalError.error_type
        unseen = InternalError.status if is_ours else CLIENT_CLOSED_REQUEST
        self.record.status = self.record.status or unseen
        if self._reservation is not None:
            self._begin_to_settle(ending)
        else:
            self._log(ApiRequest.Outcome(ending.value))

    def _log(self, outcome: ApiRequest.Outcome) -> None:
        self._is_logged = True
        self.record.outcome = outcome
        self.record.latency_ms = self.exchange.elapsed_ms()
        settlement.log(self.record, settlement.sealed_content(self.exchange, self.caller, None))

    async def _settle_quietly(self, ending: Ending) -> None:
        try:
            await self.settle(ending)
        except (CommitFailed, HoldClosed) as failure:
            logger.error("request %s could not be settled: %r", self.exchange.id, failure)


def log_fault(request_id: str, error: Exception) -> None:
    """Log a fault of ours by its place alone: its message could hold what a person wrote."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request %s: %s\n%s", request_id, type(error).__name__, frames)
