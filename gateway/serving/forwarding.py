"""Steps 5 and 6: try the routes until one answers, then read that answer to its end.

Until the first content of an answer nothing has reached the client, so a failure moves on to the
next route. After the first content it never does.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from django.conf import settings

from billing.pricing import cost_nano
from gateway.catalogue.entries import Candidate
from gateway.commits.record import RequestRecord
from gateway.dialects.chat.chunks import hide_reasoning
from gateway.dialects.request import ProviderRequest
from gateway.errors import forget_frames
from gateway.failures import (
    Broken,
    Declined,
    Garbled,
    Overloaded,
    Silent,
    UpstreamFailed,
)
from gateway.providers import upstream
from gateway.providers.body import upstream_body
from gateway.providers.metering import MALFORMED, Bill, Ending, Meter
from gateway.providers.upstream import STREAM_END, EventStream, read_chunk
from gateway.routing import health as route_health
from gateway.routing.health import RouteHealth
from gateway.routing.second_opinion import Declinations
from gateway.serving.reservation import output_room, prompt_estimate

logger = logging.getLogger(__name__)

Counted = tuple[dict, int]  # A chunk and the bytes of content in it.

# The time limits of answers that are read on although their clients are gone.
_draining: set[asyncio.Timeout] = set()


class Forwarding:
    """One request on its way to a provider, and the answer on its way back.

    `route`, and the `meter` of its answer, belong to the latest attempt.
    """

    def __init__(
        self,
        request: ProviderRequest,
        routes: tuple[Candidate, ...],
        max_tokens: int,
        record: RequestRecord,
        deadline: float,
    ):
        self._request = request
        self._hides_reasoning = request.hides_reasoning
        self._routes = routes
        self._max_tokens = max_tokens
        self._record = record
        self._deadline = deadline
        self._stream: EventStream | None = None
        self._fetching: asyncio.Task | None = None
        self._ended = False
        self._begun_writing = 0.0
        self.route = routes[0]
        self.meter = self._new_meter(self.route)
        self._attempt = _attempt(self.route)
        self.answer: dict | None = None
        self.chunks: list[Counted] = []

    # --- 5 forward

    async def open(self) -> None:
        """Return once a route has begun to answer. Raises the most useful UpstreamFailed."""
        failures: list[UpstreamFailed] = []
        declinations: Declinations | None = None  # Hardly any request needs it.
        for route in self._routes:
            if declinations is not None and declinations.rule_out(route):
                continue
            try:
                return await self._try_in_any_order(route)
            except UpstreamFailed as failure:
                forget_frames(failure)
                failures.append(failure)
                if isinstance(failure, Declined):
                    declinations = declinations or Declinations()
                    declinations.note(route, failure)
        raise _most_useful(failures)

    async def _try_in_any_order(self, route: Candidate) -> None:
        """Try a route, and once more if its chat template objects to the order of the messages."""
        try:
            await self._try(route)
        except Declined as failure:
            in_turns = self._request.in_turns() if failure.by_order else None
            if in_turns is None:
                raise
            self._request = in_turns
            await self._try(route)

    async def _try(self, route: Candidate) -> None:
        begun = time.monotonic()
        self._begin_attempt(route)
        health = self._health_of(route)
        health.begin(begun)
        try:
            if self._request.stream:
                await self._open_stream(route)
            else:
                await self._fetch(route)
            self._attempt["status"] = 200
            self._begun_writing = now = time.monotonic()
            health.succeeded(now, (now - begun) * 1000 if self._request.stream else None)
        except UpstreamFailed as failure:
            self.close()
            self.note(failure)
            self._attempt.update(status=failure.status, error=failure.fault)
            if failure.status in (401, 402, 403, 404):
                logger.error("provider %s refuses us: status %s", route.provider, failure.status)
            raise
        finally:
            self._attempt["ms"] = round((time.monotonic() - begun) * 1000, 1)

    def _begin_attempt(self, route: Candidate) -> None:
        if self._record.attempts:
            self.route, self.chunks, self._ended = route, [], False
            self._stream = self._fetching = None
            self.meter = self._new_meter(route)
            self._attempt = _attempt(route)
        self._record.attempts.append(self._attempt)

    def _new_meter(self, route: Candidate) -> Meter:
        return Meter(
            prompt_estimate=prompt_estimate(self._request, route),
            context_length=route.context_length,
            answers=self._request.answers,
            images=self._request.images,
            prompts=self._request.prompts,
            echoed_bytes=self._request.echoed_bytes,
        )

    def _body(self, route: Candidate) -> bytes:
        return upstream_body(
            self._request,
            upstream_model=route.upstream_model,
            max_tokens=min(self._max_tokens, output_room(self._request, route)),
            passthrough=route.passthrough,
            unsupported=route.unsupported,
            wants_max_completion_tokens=route.wants_max_completion_tokens,
        )

    async def _fetch(self, route: Candidate) -> None:
        path = self._request.endpoint.path
        fetch = upstream.fetch(route, path, self._body(route), self._deadline)
        self._fetching = asyncio.create_task(fetch)
        # Shielded: if the client hangs up, `let_go` decides whether it is cancelled.
        self._take_answer(await asyncio.shield(self._fetching))

    def _take_answer(self, answer: dict) -> None:
        accepted = self._request.accepted(answer)
        self._count(accepted)
        self.answer, self._ended = accepted, True

    @property
    def said(self) -> object:
        """The whole answer for the content log; empty without one."""
        return self._request.said(self.answer) if self.answer else []

    @property
    def calls_tools(self) -> bool:
        """True if the whole answer, or the first of several, calls tools."""
        choices = (self.answer or {}).get("choices") or [{}]
        return bool((choices[0].get("message") or {}).get("tool_calls"))

    async def _open_stream(self, route: Candidate) -> None:
        path = self._request.endpoint.path
        self._stream = await upstream.open_stream(route, path, self._body(route), self._deadline)
        allowed_s = settings.UPSTREAM_FIRST_BYTE_TIMEOUT_S
        while not (self._ended or self.meter.has_answered):
            try:
                payloads = await self._stream.read(min(allowed_s, self._time_left()))
            except TimeoutError as error:
                raise Silent(status=200) from error
            self.chunks += self._take(payloads)
            allowed_s = settings.UPSTREAM_IDLE_TIMEOUT_S

    def note(self, failure: UpstreamFailed) -> None:
        """Count a failure against the route, unless the request itself is at fault."""
        if failure.retryable:
            self._health_of(self.route).failed(time.monotonic(), failure.retry_after_s or 0)

    def _health_of(self, route: Candidate) -> RouteHealth:
        return route_health.of(route.route_id, self._request.endpoint.path)

    # --- 6 relay

    async def read(self) -> AsyncIterator[list[Counted]]:
        """Yield the answer's chunks, those of one read together; an empty list in a silent gap.

        Raises UpstreamFailed.
        """
        if self.chunks:
            yield self.chunks
        heard = said = time.monotonic()
        interval_s, idle_s = settings.KEEP_ALIVE_INTERVAL_S, settings.UPSTREAM_IDLE_TIMEOUT_S
        while self._stream is not None and not self._ended:
            now = time.monotonic()
            wait = min(interval_s, heard + idle_s - now, self._deadline - now)
            if wait <= 0:
                raise self._failed(Silent(status=200))
            try:
                payloads = await self._stream.read(wait)
            except TimeoutError:
                payloads = []
            except UpstreamFailed as failure:
                self._failed(failure)
                raise
            else:
                heard = time.monotonic()
            if chunks := self._take(payloads):
                yield chunks
                said = heard
            elif time.monotonic() - said >= interval_s:
                yield []
                said = time.monotonic()
        self._note_speed()

    def _note_speed(self) -> None:
        writing_s = time.monotonic() - self._begun_writing
        if route_health.tells_speed(writing_s):
            tokens = self.meter.bill(Ending.FINISHED).usage.completion
            self._health_of(self.route).wrote(tokens / writing_s)

    def _take(self, payloads: list[bytes] | None) -> list[Counted]:
        """Count the events of one read, and note the end of the answer. Raises UpstreamFailed."""
        if payloads is None:
            if not self.meter.is_complete:
                raise self._failed(Broken(status=200))
            self._ended = True  # Without [DONE], but every answer has its finish reason.
            return []
        found = []
        try:
            for payload in payloads:
                if payload == STREAM_END:
                    if not self.meter.has_answered:
                        raise Broken(status=200)
                    self._ended = True
                    break
                chunk = read_chunk(payload)
                found.append((chunk, self._count(chunk)))
        except UpstreamFailed as failure:
            self._failed(failure)
            raise
        return found

    def _count(self, chunk: dict) -> int:
        """Count a chunk, and return its bytes of content for the caller. Raises UpstreamFailed."""
        try:
            size = self.meter.saw(chunk)
        except MALFORMED as error:
            raise self._failed(Garbled(status=200)) from error
        if self.meter.finish_reasons and self.meter.broke_off:
            raise self._failed(Broken(status=200))
        return hide_reasoning(chunk) if self._hides_reasoning else size

    def _failed(self, failure: UpstreamFailed) -> UpstreamFailed:
        self._attempt["error"] = failure.fault
        return failure

    def _time_left(self) -> float:
        return self._deadline - time.monotonic()

    # --- the end

    async def let_go(self) -> None:
        """Stop after the client has hung up: cancel the answer upstream.

        If the provider bills abandoned answers in full, read on instead, to learn the cost.
        """
        try:
            if not self._ended and not self.route.stops_billing_on_cancel:
                async with _drain_time():
                    await self._read_to_the_end()
        except (UpstreamFailed, TimeoutError):
            pass
        finally:
            self.close()

    async def _read_to_the_end(self) -> None:
        if self._fetching is not None:
            self._take_answer(await self._fetching)
        elif self._stream is not None:
            async for _ in self.read():
                pass

    def close(self) -> None:
        if self._fetching is not None and not self._fetching.done():
            self._fetching.cancel()
        if self._stream is not None:
            self._stream.close()

    def upstream_cost(self, bill: Bill) -> int | None:
        """Return the provider's charge to Kyma in nano-dollars; None if that is unknown."""
        if not self.meter.has_begun:
            return None
        return cost_nano(self.route.cost_price, bill.upstream)


@contextlib.asynccontextmanager
async def _drain_time() -> AsyncIterator[None]:
    """Raise TimeoutError after DRAIN_AFTER_HANG_UP_S, or when this process ends."""
    async with asyncio.timeout(settings.DRAIN_AFTER_HANG_UP_S) as allowed:
        _draining.add(allowed)
        try:
            yield
        finally:
            _draining.discard(allowed)


async def stop_draining() -> None:
    """Stop reading answers whose clients are gone, because this process ends."""
    await asyncio.sleep(0)  # Lets reading begin that is due, so that it is stopped too.
    now = asyncio.get_running_loop().time()
    for allowed in _draining:
        if not allowed.expired():
            allowed.reschedule(now)


def _attempt(route: Candidate) -> dict:
    """Return an attempt as it stands in the request log."""
    return {"provider": route.provider, "route": route.route_id, "status": None}


def _most_useful(failures: list[UpstreamFailed]) -> UpstreamFailed:
    """Return the failure that helps the caller most.

    First one that the caller can mend, then that of the busy provider which may be asked again
    soonest, and otherwise the last.
    """
    for failure in failures:
        if isinstance(failure, Declined):
            return failure
    busy = [failure for failure in failures if isinstance(failure, Overloaded)]
    return min(busy, key=lambda one: one.wait_s) if busy else failures[-1]
