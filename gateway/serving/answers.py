"""Steps 6 to 8 of the story: an answer is relayed, settled and finished."""

import dataclasses
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping

import orjson

from billing.pricing import Usage, usd
from gateway.commits.operations import Claim, ClaimEnd, HoldClosed
from gateway.commits.queue import CommitFailed
from gateway.dialects.apis import Opening
from gateway.dialects.chat.chunks import Identity, own, usage_object
from gateway.dialects.request import ProviderRequest
from gateway.errors import InternalError
from gateway.failures import UpstreamFailed
from gateway.providers.metering import Ending
from gateway.receipts.generation import answer_id
from gateway.serving import idempotency, settlement
from gateway.serving.delivery import Delivery
from gateway.serving.endings import Completion
from gateway.serving.forwarding import Forwarding
from gateway.serving.idempotency import Kept
from gateway.serving.reservation import Reservation

logger = logging.getLogger(__name__)

# There is nothing to send, but the next part is asked for only once all before it has been sent.
FLUSH = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Replay:
    """The answer that the same request got before, under the same Idempotency-Key."""

    kept: Kept
    limit_headers: Mapping[str, str]


@dataclasses.dataclass(slots=True)  # Not frozen: that would cost each request a microsecond.
class Asked:
    """The caller's body, the request in it, and its claim to an Idempotency-Key if it has one."""

    body: dict
    request: ProviderRequest
    claim: Claim | None


@dataclasses.dataclass(slots=True)  # Not frozen either.
class Reserved:
    """A request with a hold, which providers are being asked to answer."""

    completion: Completion
    asked: Asked
    reservation: Reservation
    forwarding: Forwarding

    async def settle(self, ending: Ending) -> int:
        """Settle the request if it ends like this before a client gets anything of its answer."""
        return await self.settle_broken(ending, self.forwarding, broke_off=False)

    async def settle_broken(
        self, ending: Ending, answer: Forwarding | Delivery, *, broke_off: bool
    ) -> int:
        """Settle a request whose answer didn't become whole."""
        if ending is Ending.CLIENT_GONE:
            await self.forwarding.let_go()
        else:
            self.forwarding.close()
        _, price_nano = self.take_bill(ending, answer, broke_off=broke_off)
        claim = self.asked.claim
        claim_end = None if claim is None else idempotency.freed(claim)
        return await self.charge(price_nano, answer, claim_end)

    async def charge(
        self, price_nano: int, answer: Forwarding | Delivery, claim_end: ClaimEnd | None
    ) -> int:
        """Settle at this price, which the hold caps. Return the nano-dollars charged."""
        completion = self.completion
        exchange, record = completion.exchange, completion.record
        if record.flagged:
            logger.warning("request %s: absurd usage from %s", record.id, record.provider)
        record.latency_ms = exchange.elapsed_ms()
        content, claim_end = await settlement.kept(
            exchange, completion.caller, record, answer.said, claim_end
        )
        exchange.forget_body()
        return await settlement.settle(record, price_nano, content, claim_end)

    def take_bill(
        self, ending: Ending, answer: Forwarding | Delivery, *, broke_off: bool = False
    ) -> tuple[Usage, int]:
        """Return the usage and its price, as `settlement.take_bill` does."""
        return settlement.take_bill(
            self.completion.record,
            self.forwarding,
            ending,
            calls_tools=answer.calls_tools,
            broke_off=broke_off,
        )


class Answer(ABC):
    """An answer that a provider has begun to give."""

    is_streamed = False
    content_type = "application/json"
    last_part = b""  # It may leave only when the receipt exists.

    def __init__(self, reserved: Reserved):
        self._reserved = reserved
        self._completion = reserved.completion
        self._forwarding = reserved.forwarding

    @abstractmethod
    def parts(self) -> AsyncGenerator[bytes]:
        """Yield the bytes but for `last_part`. When they have ended, the answer is settled."""

    @abstractmethod
    async def settle(self, ending: Ending) -> int:
        """Settle the answer if it ends like this, before it is finished."""

    @property
    def limit_headers(self) -> Mapping[str, str]:
        return self._completion.limit_headers

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe the answer."""
        record = self._completion.record
        headers = {
            "X-Generation-Id": answer_id(record.api, record.id),
            "x-kyma-model": record.model,
            "x-kyma-provider": record.provider,
            "x-kyma-attempts": str(len(record.attempts)),
            "x-kyma-overhead-ms": str(record.overhead_ms),
        }
        if record.alias:
            headers["x-kyma-alias"] = record.alias
        return headers

    def abandon(self, ending: Ending) -> None:
        self._completion.abandon(ending)

    def _finished(self, answer: Forwarding | Delivery) -> tuple[dict, int, int]:
        """Return the usage that the caller is shown, the cost, and the price before its cap."""
        usage, price_nano = self._reserved.take_bill(Ending.FINISHED, answer)
        cost_nano = min(price_nano, self._reserved.reservation.grant.amount_nano)
        return usage_object(usage, cost_nano), cost_nano, price_nano

    async def _settle_finished(
        self, price_nano: int, answer: Forwarding | Delivery, body: bytes
    ) -> int:
        self._forwarding.close()
        return await self._reserved.charge(price_nano, answer, self._completed_claim(body))

    def _completed_claim(self, body: bytes) -> ClaimEnd | None:
        claim = self._reserved.asked.claim
        if claim is None:
            return None
        kept = Kept(self.headers, self.content_type, body)
        return idempotency.completed(claim, kept, self._completion.caller)


class StreamedAnswer(Answer):
    """An answer that comes as events."""

    is_streamed = True
    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, reserved: Reserved, identity: Identity):
        super().__init__(reserved)
        asked, completion = reserved.asked, reserved.completion
        prompt_tokens = self._forwarding.meter.prompt_estimate
        opening = Opening(identity, asked.request, asked.body, prompt_tokens)
        self._stream, self._opening = completion.dialect.open(opening)
        self._delivery = Delivery(
            self._forwarding,
            self._stream,
            identity,
            include_usage=asked.request.include_usage,
            keeps_bytes=asked.claim is not None and completion.caller.retention_days > 0,
        )

    async def parts(self) -> AsyncGenerator[bytes]:
        """Yield the events. A part counts as delivered once the next is asked for."""
        completion, delivery = self._completion, self._delivery
        try:
            async for written in delivery.write(self._opening):
                yield written
            yield FLUSH
            usage, _, price_nano = self._finished(delivery)
            end = delivery.note(self._stream.finish(usage))
            await completion.settle(self._settle_finished(price_nano, delivery, delivery.written))
        except UpstreamFailed as failure:
            self._forwarding.note(failure)
            error = failure.gateway_error()
            completion.record.error_type = error.error_type
            await completion.settle_quietly(self.settle(Ending.UPSTREAM_FAILED))
            yield self._stream.fail(error)
        except (CommitFailed, HoldClosed) as failure:
            completion.log_unsettled(failure)
            yield self._stream.fail(InternalError("Kyma could not settle this answer."))
        else:
            yield end

    def note_delivered(self) -> None:
        """Count what was written so far as delivered, now that the reader has it."""
        self._delivery.note_delivered()

    async def settle(self, ending: Ending) -> int:
        broke_off = self._delivery.has_begun and ending.is_failure
        return await self._reserved.settle_broken(ending, self._delivery, broke_off=broke_off)


class WholeAnswer(Answer):
    """An answer that came as a whole. `content` is its JSON."""

    def __init__(self, reserved: Reserved, identity: Identity):
        super().__init__(reserved)
        answer = own(self._forwarding.answer or {}, identity)
        usage, self._cost_nano, self._price_nano = self._finished(self._forwarding)
        whole = reserved.completion.dialect.whole(answer, usage, reserved.asked.body)
        self.content = orjson.dumps(whole)
        self.last_part = self.content[-1:]

    @property
    def headers(self) -> dict[str, str]:
        headers = super().headers
        headers["x-kyma-cost"] = usd(self._cost_nano)
        return headers

    async def parts(self) -> AsyncGenerator[bytes]:
        yield self.content[:-1]
        yield FLUSH
        meter = self._forwarding.meter
        meter.delivered_bytes = meter.seen_bytes
        await self._completion.settle(
            self._settle_finished(self._price_nano, self._forwarding, self.content)
        )

    async def settle(self, ending: Ending) -> int:
        return await self._reserved.settle(ending)
