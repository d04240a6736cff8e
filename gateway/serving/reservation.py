"""Step 4: before a request is forwarded, the most that it can cost is held."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from django.conf import settings

from billing.errors import BillingError, InsufficientCredit, KeyCapReached, TooManyOpenHolds
from billing.ledger import Ask, Grant
from billing.pricing import tokens_nano, usd
from gateway import errors
from gateway.catalogue.entries import Candidate
from gateway.commits import leases
from gateway.commits import queue as commit_queue
from gateway.commits.operations import Claim, Reserve
from gateway.commits.queue import CommitFailed, Promise
from gateway.commits.record import RequestRecord
from gateway.dialects.request import BYTES_PER_TOKEN, DEFAULT_MAX_TOKENS, ProviderRequest
from gateway.serving import metrics

MOST_BYTES_PER_TOKEN = 8  # No long text has more.
DENSE_BYTES_PER_TOKEN = 3  # Code and JSON, which agents send, have about so many.
LEAST_ROOM = 1024  # tokens for an answer, however long the prompt seems to be


def prompt_estimate(request: ProviderRequest, route: Candidate) -> int:
    """Estimate the tokens of all prompts, before a provider has counted them."""
    return -(-request.text_bytes // BYTES_PER_TOKEN) + _exact_tokens(request, route)


def prompt_bound(request: ProviderRequest, route: Candidate) -> int:
    """Return the most tokens that all prompts can be."""
    most = route.context_length * request.prompts
    return min(most, request.text_bytes + _added_tokens(request, route))


def output_room(request: ProviderRequest, route: Candidate) -> int:
    """Return the most tokens of an answer to ask for over `route`, beside the prompt.

    Too few cut off a longer answer, which is rare. Too many make the provider refuse the request
    as too long, and then an agent drops part of its conversation. So the prompt is counted as
    dense text, unless that leaves next to nothing.
    """
    dense = -(-request.text_bytes // DENSE_BYTES_PER_TOKEN) + _added_tokens(request, route)
    rooms = (
        route.context_length - dense // request.prompts,
        (route.context_length - prompt_estimate(request, route) // request.prompts) // 2,
        LEAST_ROOM,
    )
    return min(route.max_output_tokens, max(rooms))


def _added_tokens(request: ProviderRequest, route: Candidate) -> int:
    """Return the most tokens that are added to those of the text."""
    template = request.frame_tokens + request.has_template * route.template_tokens
    return template + _exact_tokens(request, route)


def _exact_tokens(request: ProviderRequest, route: Candidate) -> int:
    return request.token_ids + request.images * route.image_tokens


def tokens_of(request: ProviderRequest, route: Candidate, ask: Ask) -> tuple[int, int]:
    """Return the tokens that prompt and answers are likely to take, and the most to count.

    A request that sets no limit hardly ever gets an answer of the largest default.
    """
    limit = min(ask.max_tokens, DEFAULT_MAX_TOKENS) if ask.flexible else ask.max_tokens
    output = ask.answers * limit
    return prompt_estimate(request, route) + output, prompt_bound(request, route) + output


def ask_for(request: ProviderRequest, routes: tuple[Candidate, ...]) -> Ask:
    """Return the most that `request` can cost on any of `routes`. Raises ContextTooLong."""
    context = max(route.context_length for route in routes)
    if request.text_bytes > context * request.prompts * MOST_BYTES_PER_TOKEN:
        raise errors.ContextTooLong(
            f"The prompt is too long: {request.text_bytes} bytes of text don't fit the context of "
            f"{context} tokens. Shorten it, or choose a model with a larger context.",
            param="messages",
        )
    return Ask(
        fixed_nano=max(_fixed_nano(request, route) for route in routes),
        output_price=max(route.price.output for route in routes),
        answers=request.answers,
        max_tokens=_max_tokens(request, routes),
        flexible=request.max_tokens is None,
    )


def _fixed_nano(request: ProviderRequest, route: Candidate) -> int:
    price = route.price
    dearest = max(price.input, price.cached_input)
    input_nano = tokens_nano(prompt_bound(request, route), dearest)
    # Cached and other input are each rounded up, so together they may cost one nano-dollar more.
    # A model whose input is free must cost nothing: an account without credit may use it.
    rounding_nano = 1 if dearest else 0
    return input_nano + rounding_nano + price.request + request.images * price.image


def _max_tokens(request: ProviderRequest, routes: tuple[Candidate, ...]) -> int:
    """Return the caller's output limit or the default, or what a context has room for."""
    wanted, most = request.max_tokens or request.default_max_tokens, 0
    for route in routes:
        most = max(most, output_room(request, route))
        if most >= wanted:  # Nearly always so; the other routes needn't be looked at.
            return wanted
    return most


class Reservation:
    """A hold on credit that is granted, and durable soon.

    The provider may be asked meanwhile. Nothing of the answer may leave before it is durable.
    """

    def __init__(self, promise: Promise):
        self._promise = promise

    @property
    def grant(self) -> Grant:
        return self._promise.grant

    async def durable(self) -> None:
        """Wait until a crash can't undo the hold.

        Raises PaymentRequired, TooManyRequests, Unavailable. Then nothing is held, or it is
        released as soon as the database answers.
        """
        try:
            with _gateway_errors():
                await self._promise.kept()
        except errors.GatewayError:
            metrics.open_holds.dec()
            raise


async def reserve(
    record: RequestRecord, ask: Ask, price_version_id: str, claim: Claim | None = None
) -> Reservation:
    """Hold the cost of `ask`. With a `claim`, return only when the hold is durable.

    Raises PaymentRequired, TooManyRequests, Unavailable; KeyTaken if another request has the key.
    """
    queue, timeout_s = commit_queue.queue(), settings.ADMISSION_TIMEOUT_S
    with _gateway_errors():
        beat = await leases.lease().fresh()
        operation = Reserve(
            request_id=record.id,
            account_id=record.account_id,
            key_id=record.key_id,
            price_version_id=price_version_id,
            ask=ask,
            now=dt.datetime.now(dt.UTC),
            deadline=beat.database_time + _lifetime(),
            claim=claim,
            process_id=beat.process_id,
        )
        if claim is None:
            promise = await queue.promise(operation, timeout_s)
        else:  # The provider is asked once and no more, even if this process dies meanwhile.
            promise = Promise(await queue.submit(operation, timeout_s))
    metrics.open_holds.inc()
    return Reservation(promise)


def _lifetime() -> dt.timedelta:
    """Return the time after which a hold is abandoned, even if its process lives."""
    return dt.timedelta(seconds=settings.REQUEST_TOTAL_TIMEOUT_S + settings.HOLD_GRACE_S)


@contextmanager
def _gateway_errors() -> Iterator[None]:
    """Raise refusals and failures as the errors that the caller gets."""
    try:
        yield
    except BillingError as refusal:
        raise _gateway_error(refusal) from refusal
    except CommitFailed as failure:
        raise errors.Unavailable(
            "Kyma can't reach its database right now. Nothing was charged. Try again shortly.",
            code="unavailable",
        ) from failure


def _gateway_error(refusal: BillingError) -> errors.GatewayError:
    if isinstance(refusal, TooManyOpenHolds):
        return errors.TooManyRequests(
            f"This account may run {refusal.limit} requests at once, and that many are running. "
            "Wait for one to end.",
            code="too_many_concurrent_requests",
        )
    if isinstance(refusal, InsufficientCredit):
        return _payment_required(refusal)
    return errors.Forbidden("This account is closed.", code="account_closed")


def _payment_required(refusal: InsufficientCredit) -> errors.PaymentRequired:
    is_cap = isinstance(refusal, KeyCapReached)
    whose = "The spend cap of this key leaves" if is_cap else "The credit left is"
    remedy = "raise the cap at /keys" if is_cap else "add credit in the dashboard, at /billing"
    advice = (
        f"ask for at most {refusal.affordable_max_tokens} tokens, or {remedy}"
        if refusal.affordable_max_tokens
        else remedy
    )
    return errors.PaymentRequired(
        f"This request can cost up to ${usd(refusal.required_nano)}. {whose} "
        f"${usd(refusal.available_nano)}: {advice}.",
        code="key_limit_reached" if is_cap else "insufficient_credits",
        metadata={
            "required": orjson.Fragment(usd(refusal.required_nano)),
            "available": orjson.Fragment(usd(refusal.available_nano)),
            "affordable_max_tokens": refusal.affordable_max_tokens,
        },
    )
