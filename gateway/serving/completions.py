"""The story of one answer, from its key to its receipt: chat, text or embeddings.

    1 authenticate   find the caller by the key
    2 admit          refuse a caller who may ask nothing at all, and read the request
    3 resolve        find the routes to the model, and count the request against the rate limits
    4 reserve        hold the most that it can cost; that is written while the provider is asked
    5 forward        try the routes until one begins to answer
    6 relay          pass on the answer, and count it
    7 settle         charge the usage, log it, keep its content: one transaction
    8 finish         send the last byte only now: a complete answer always has its receipt

`begin` takes steps 1 to 5; each returns a value that the next steps take. `Answer.parts`
(answers.py) takes the other steps. The request ends once, whatever happens (endings.py).
A request that was answered before, under the same Idempotency-Key, ends after step 2 with that
answer.
"""

import asyncio
import logging
import time
import traceback

from django.conf import settings

from billing.ledger import Ask
from gateway.access import limits
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.catalogue.entries import Candidate
from gateway.commits.operations import Claim, KeyTaken
from gateway.commits.record import RequestRecord
from gateway.dialects.apis import Dialect
from gateway.dialects.chat.chunks import Identity
from gateway.errors import GatewayError, InternalError
from gateway.failures import UpstreamFailed
from gateway.models import ApiRequest
from gateway.routing.resolution import Resolution, resolve
from gateway.serving import idempotency, reservation, sessions
from gateway.serving.answers import Answer, Asked, Replay, Reserved, StreamedAnswer, WholeAnswer
from gateway.serving.endings import Completion
from gateway.serving.exchange import ClientGone, Exchange
from gateway.serving.forwarding import Forwarding

logger = logging.getLogger(__name__)


async def begin(exchange: Exchange, dialect: Dialect) -> Answer | Replay:
    """Take steps 1 to 5, and return once a provider has begun to answer.

    Raises GatewayError; then the request is logged, and nothing is held or charged.
    """
    completion = Completion(exchange, await exchange.authenticate(), dialect)
    try:
        return await proceed(completion)
    except (ClientGone, asyncio.CancelledError):
        completion.abandon(exchange.broken_off_as)
        raise


async def proceed(completion: Completion) -> Answer | Replay:
    """Take steps 2 to 5 for a known caller. Raises as `begin` does.

    If it is cancelled or raises ClientGone, abandon the completion: only you know why it ends.
    """
    try:
        return await _answer(completion)
    except GatewayError as error:
        refusal = await completion.refuse(error)
        if refusal is error:
            raise
        raise refusal from error
    except ClientGone:
        raise
    except Exception as error:  # The outermost edge: a fault of ours must not leave a hold.
        log_fault(completion.exchange.id, error)
        masked = InternalError("Kyma failed. Nothing was charged.")
        raise await completion.refuse(masked) from error


async def _answer(completion: Completion) -> Answer | Replay:
    admit(completion.caller, completion.exchange.ip)
    key_rules.refuse_management(completion.caller)
    asked = await read(completion)
    if asked.claim is not None:
        replay = await find_replay(completion, asked.claim)
        if replay is not None:
            return replay
    session = completion.record.session_hash
    resolution = await resolve(asked.request, completion.caller, session)
    try:
        reserved = await reserve(completion, asked, resolution)
    except KeyTaken as taken:
        replay = await find_replay(completion, taken.claim)
        if replay is None:  # The other request has just freed the key: it can be claimed again.
            raise idempotency.in_flight() from taken
        return replay
    return await forward(reserved, resolution)


# --- 2 admit


def admit(caller: Caller, ip: str) -> None:
    """Raise Forbidden if the account may not use the gateway, or its key not from this address."""
    key_rules.check_state(caller.state)
    key_rules.check_address(caller, ip)


async def read(completion: Completion) -> Asked:
    """Read the body. Raises GatewayError."""
    exchange, caller, record = completion.exchange, completion.caller, completion.record
    body, request = await exchange.read_json(
        caller, completion.dialect.read, admit_large=completion.count_now
    )
    record.streamed = request.stream
    record.images = request.images
    record.session_hash = sessions.session_hash(request, exchange.headers, caller.account_id)
    record.user_hash = sessions.user_hash(request, caller.account_id)
    return Asked(body, request, idempotency.claim_of(exchange, caller, completion.dialect.api))


async def find_replay(completion: Completion, claim: Claim) -> Replay | None:
    """Return the answer that was given under the claimed key before. Raises GatewayError."""
    kept = await idempotency.find(claim, completion.caller)
    if kept is None:
        return None
    await completion.count_now()
    completion.record.status = 200
    completion.log(ApiRequest.Outcome.REPLAYED)
    return Replay(kept, completion.limit_headers)


# --- 3 resolve: `resolution.resolve`; 4 reserve


async def reserve(completion: Completion, asked: Asked, resolution: Resolution) -> Reserved:
    """Hold the most that any of the routes can cost. Raises GatewayError, KeyTaken."""
    routes, record = resolution.routes, completion.record
    _name_route(record, routes[0], resolution)
    ask = reservation.ask_for(asked.request, routes)
    await _admit(completion, asked, routes, ask)
    price_version_id = routes[0].price_version_id
    reserving = await reservation.reserve(record, ask, price_version_id, asked.claim)
    deadline = completion.exchange.started + settings.REQUEST_TOTAL_TIMEOUT_S
    forwarding = Forwarding(asked.request, routes, reserving.grant.max_tokens, record, deadline)
    reserved = Reserved(completion, asked, reserving, forwarding)
    completion.hold(reserved)
    return reserved


async def _admit(
    completion: Completion, asked: Asked, routes: tuple[Candidate, ...], ask: Ask
) -> None:
    """Count the request, unless it is counted, and its tokens. Raises GatewayError."""
    likely, most = reservation.tokens_of(asked.request, routes[0], ask)
    headers = await limits.admit(
        completion.caller,
        dict.fromkeys(route.model for route in routes),
        likely_tokens=likely,
        most_tokens=most,
        is_counted=completion.is_counted,
    )
    completion.count(headers)


def _name_route(record: RequestRecord, route: Candidate, resolution: Resolution) -> None:
    record.model = route.model
    record.alias = resolution.aliases.get(route.model, "")
    record.price_version_id = route.price_version_id


# --- 5 forward


async def forward(reserved: Reserved, resolution: Resolution) -> Answer:
    """Return once a provider has begun to answer. Raises GatewayError."""
    completion, forwarding = reserved.completion, reserved.forwarding
    exchange, record = completion.exchange, completion.record
    begun_ms = exchange.elapsed_ms()
    try:
        await forwarding.open()
        record.first_token_ms = answered_ms = exchange.elapsed_ms()
        await _wait_for_hold(reserved)
        answer = _begun(reserved, resolution)
    except UpstreamFailed as failure:
        await _wait_for_hold(reserved)  # Without a hold there is nothing to settle.
        raise failure.gateway_error().after(len(record.attempts)) from failure
    record.status = 200
    record.overhead_ms = round(begun_ms + exchange.elapsed_ms() - answered_ms, 3)
    return answer


async def _wait_for_hold(reserved: Reserved) -> None:
    """Wait until the hold is durable. Raises GatewayError if it could not be written."""
    try:
        await reserved.reservation.durable()
    except GatewayError:
        reserved.completion.drop_hold()
        reserved.forwarding.close()
        raise


def _begun(reserved: Reserved, resolution: Resolution) -> Answer:
    """Return the answer under Kyma's own name for it."""
    completion, request = reserved.completion, reserved.asked.request
    route, record = reserved.forwarding.route, completion.record
    _name_route(record, route, resolution)
    record.route_id = route.route_id
    record.provider = route.provider
    identity = Identity(
        id=f"{request.endpoint.id_prefix}{completion.exchange.id}",
        created=int(time.time()),
        model=record.model,
        provider=route.provider_name,
        endpoint=request.endpoint,
    )
    kind = StreamedAnswer if request.stream else WholeAnswer
    answer = kind(reserved, identity)
    completion.hold(answer)
    return answer


def log_fault(request_id: str, error: Exception) -> None:
    """Log a fault of ours by its place alone: its message could quote what a person wrote."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request %s: %s\n%s", request_id, type(error).__name__, frames)
