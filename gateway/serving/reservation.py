"""What is set aside for a request before it is forwarded: the most that it can cost."""

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
from gateway.commits import queue as commit_queue
from gateway.commits.operations import Claim, KeyTaken, Reserve
from gateway.commits.queue import CommitFailed, Promise
from gateway.commits.record import RequestRecord
from gateway.dialects.request import BYTES_PER_TOKEN, DEFAULT_MAX_TOKENS, ProviderRequest
from gateway.serving import metrics

MOST_BYTES_PER_TOKEN = 8  # No text of any length packs more into a token.
DENSE_BYTES_PER_TOKEN = 3  # Code and JSON: what agents send.
LEAST_ROOM = 1024  # For an answer, however long the prompt seems to be.


def prompt_estimate(request: ProviderRequest, route: Candidate) -> int:
    """All prompts in tokens, before anybody has counted them."""
    return -(-request.text_bytes // BYTES_PER_TOKEN) + _exact_tokens(request, route)


def prompt_bound(request: ProviderRequest, route: Candidate) -> int:
    """The most tokens that all prompts can be."""
    most = route.context_length * request.prompts
    return min(most, request.text_bytes + _added_tokens(request, route))


def output_room(request: ProviderRequest, route: Candidate) -> int:
    """The most tokens of an answer that can be asked for over `route`, beside the prompt.

    Too few cut an answer that is longer, which is rare; too many have the request refused as too
    long, and its agent forget what it was about. So the prompt is taken for a dense one, unless
    that leaves next to nothing.
    """
    dense = -(-request.text_bytes // DENSE_BYTES_PER_TOKEN) + _added_tokens(request, route)
    rooms = (
        route.context_length - dense // request.prompts,
        (route.context_length - prompt_estimate(request, route) // request.prompts) // 2,
        LEAST_ROOM,
    )
    return min(route.max_output_tokens, max(rooms))


def _added_tokens(request: ProviderRequest, route: Candidate) -> int:
    """The most that come on top of the text."""
    template = request.frame_tokens + request.has_template * route.template_tokens
    return template + _exact_tokens(request, route)


def _exact_tokens(request: ProviderRequest, route: Candidate) -> int:
    return request.token_ids + request.images * route.image_tokens


def tokens_of(request: ProviderRequest, route: Candidate, ask: Ask) -> tuple[int, int]:
    """How many tokens prompt and answers are likely to take, and the bound to count them by.

    Where no limit was named, an answer hardly ever takes a large one.
    """
    limit = min(ask.max_tokens, DEFAULT_MAX_TOKENS) if ask.flexible else ask.max_tokens
    output = ask.answers * limit
    return prompt_estimate(request, route) + output, prompt_bound(request, route) + output


def ask_for(request: ProviderRequest, routes: tuple[Candidate, ...]) -> Ask:
    """The most that `request` can cost on any of `routes`. Raises ContextTooLong."""
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
    # One nano-dollar more: cached and other input are each rounded up.
    return input_nano + 1 + price.request + request.images * price.image


def _max_tokens(request: ProviderRequest, routes: tuple[Candidate, ...]) -> int:
    """The output limit to ask for: the caller's, else the default, where there is room for it."""
    wanted, most = request.max_tokens or request.default_max_tokens, 0
    for route in routes:
        most = max(most, output_room(request, route))
        if most >= wanted:  # As nearly always: no need to look at the others.
            return wanted
    return most


class Reservation:
    """Credit that is set aside for a request: granted, and durable soon.

    The provider may be asked meanwhile; nothing of the answer may leave before.
    """

    def __init__(self, promise: Promise):
        self._promise = promise

    @property
    def grant(self) -> Grant:
        return self._promise.grant

    async def durable(self) -> None:
        """Wait until a crash can't undo it. Raises PaymentRequired, TooManyRequests, Unavailable:
        then nothing is set aside, or no longer than until the database answers again.
        """
        try:
            with _told():
                await self._kept()
        except errors.GatewayError:
            metrics.open_holds.dec()
            raise

    async def _kept(self) -> None:
        try:
            await self._promise.kept()
        except KeyTaken as taken:  # By another, when the batch had to be decided again.
            raise CommitFailed(taken.claim.id) from taken


async def reserve(
    record: RequestRecord, ask: Ask, price_version_id: str, claim: Claim | None = None
) -> Reservation:
    """Hold the cost of `ask`; durably at once if there is a `claim`.

    Raises PaymentRequired, TooManyRequests, Unavailable; KeyTaken when the claim comes too late.
    """
    lifetime_s = settings.REQUEST_TOTAL_TIMEOUT_S + settings.HOLD_GRACE_S
    now = dt.datetime.now(dt.UTC)
    operation = Reserve(
        request_id=record.id,
        account_id=record.account_id,
        key_id=record.key_id,
        price_version_id=price_version_id,
        ask=ask,
        now=now,
        deadline=now + dt.timedelta(seconds=lifetime_s),
        claim=claim,
    )
    queue, timeout_s = commit_queue.queue(), settings.ADMISSION_TIMEOUT_S
    with _told():
        if claim is None:
            promise = await queue.promise(operation, timeout_s)
        else:  # To be asked once and no more, even if this process dies meanwhile.
            promise = Promise(await queue.submit(operation, timeout_s))
    metrics.open_holds.inc()
    return Reservation(promise)


@contextmanager
def _told() -> Iterator[None]:
    """A refusal as the caller is told of it."""
    try:
        yield
    except BillingError as refusal:
        raise _refused(refusal) from refusal
    except CommitFailed as failure:
        raise errors.Unavailable(
            "Kyma can't reach its database right now. Nothing was charged. Try again shortly.",
            code="unavailable",
        ) from failure


def _refused(refusal: BillingError) -> errors.GatewayError:
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
