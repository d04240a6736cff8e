"""How a request for an answer ends: once, with one row in the log, and its hold settled.

These are the ways to end. The first of them counts; the others then change nothing.

    refuse    it gets an error instead of an answer
    settle    its answer has ended, well or not, and is charged
    abandon   its client is gone, or Kyma failed or stops
    log       it held nothing
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from enum import Enum, auto
from typing import Any, Protocol

from gateway import errors
from gateway.access import limits
from gateway.access.authentication import Caller
from gateway.commits.operations import HoldClosed
from gateway.commits.queue import CommitFailed
from gateway.dialects.apis import Dialect
from gateway.errors import GatewayError, InternalError, Unavailable
from gateway.models import ApiRequest
from gateway.providers.metering import Ending
from gateway.serving import settlement
from gateway.serving.exchange import Exchange

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499  # nginx's number for it; no client ever sees it.

Outcome = ApiRequest.Outcome
Settling = Coroutine[Any, Any, int]  # The result is the nano-dollars charged.


class Held(Protocol):
    """A request with a hold."""

    def settle(self, ending: Ending) -> Settling:
        """Return what settles the request if its answer ends like this, before it is whole."""


class NotHeld(Enum):
    """The states of a request without a hold."""

    RUNNING = auto()
    LOGGED = auto()


class Completion:
    """A request for an answer, from its key to its receipt.

    `record` is its row in the log as far as it is known. `limit_headers` say how the rate limits
    stand; they are empty until the request is counted.
    """

    def __init__(self, exchange: Exchange, caller: Caller, dialect: Dialect):
        self.exchange = exchange
        self.caller = caller
        self.dialect = dialect.under(caller.cipher)
        self.record = exchange.new_record(caller, dialect.api)
        self.limit_headers: Mapping[str, str] = {}
        self.is_counted = False
        # Once settling has begun, this is its task.
        self._state: NotHeld | Held | asyncio.Task[int] = NotHeld.RUNNING

    def count(self, limit_headers: Mapping[str, str]) -> None:
        """Note that the request was counted against the rate limits."""
        self.limit_headers = limit_headers
        self.is_counted = True

    async def count_now(self) -> None:
        """Count the request, unless that was done before. Raises TooManyRequests."""
        if not self.is_counted:
            self.count(await limits.count(self.caller))

    def hold(self, held: Held) -> None:
        """Note that the request has a hold, which `held` settles."""
        self._state = held

    def drop_hold(self) -> None:
        """Note that the hold could not be written."""
        self._state = NotHeld.RUNNING

    # --- the ways to end

    async def refuse(self, error: GatewayError) -> GatewayError:
        """Log a request that gets an error instead of an answer, and settle its hold.

        Return the error to raise. It is another one if the account is refused too often.
        """
        error = await self._count_refusal(error)
        if isinstance(error, errors.TooManyRequests):
            error.headers = {**self.limit_headers, **error.headers}
        if isinstance(error, errors.ContextTooLong):
            error.param = self.dialect.prompt_field
        self.record.status, self.record.error_type = error.status, error.error_type
        is_ours = isinstance(error, InternalError)
        if isinstance(self._state, NotHeld):
            self.log(Outcome.KYMA_FAILED if is_ours else Outcome.REFUSED)
        elif not isinstance(self._state, asyncio.Task):
            ending = Ending.KYMA_FAILED if is_ours else Ending.UPSTREAM_FAILED
            await self.settle_quietly(self._state.settle(ending))
        return error

    async def _count_refusal(self, error: GatewayError) -> GatewayError:
        if not self.is_counted and not isinstance(error, errors.TooManyRequests):
            try:
                await limits.count_refusal(self.caller, error)
            except errors.TooManyRequests as limit:
                return limit
        return error

    async def settle(self, settling: Settling) -> int:
        """Charge and log, even if the request is cancelled meanwhile. Return nano-dollars.

        Raises as `settlement.settle` does.
        """
        return await asyncio.shield(self._begin_to_settle(settling))

    async def settle_quietly(self, settling: Settling) -> None:
        """Settle, and log it if that fails: the caller gets an error anyway."""
        try:
            await self.settle(settling)
        except (CommitFailed, HoldClosed) as failure:
            self.log_unsettled(failure)

    def log_unsettled(self, failure: Exception) -> None:
        logger.error("request %s could not be settled: %r", self.record.id, failure)

    async def wait_until_settled(self) -> None:
        """Wait until settling has ended, if it has begun; then `record` says the cost.

        Raises as `settlement.settle` does.
        """
        if isinstance(self._state, asyncio.Task):
            await asyncio.shield(self._state)

    def _begin_to_settle(self, settling: Settling) -> asyncio.Task[int]:
        if isinstance(self._state, asyncio.Task):
            settling.close()
        else:
            self._state = settlement.in_own_task(settling)
        return self._state

    def abandon(self, ending: Ending) -> None:
        """End a request whose answer nobody gets to its end: the client is gone, or Kyma failed.

        Safe at any time: a request that has been settled or logged stays so.
        """
        state = self._state
        if state is NotHeld.LOGGED or isinstance(state, asyncio.Task):
            return
        status = CLIENT_CLOSED_REQUEST
        if ending is Ending.KYMA_FAILED:
            status, self.record.error_type = Unavailable.status, InternalError.error_type
        self.record.status = self.record.status or status
        if state is NotHeld.RUNNING:
            self.log(Outcome(ending.value))
        else:
            self._begin_to_settle(state.settle(ending))

    def log(self, outcome: ApiRequest.Outcome) -> None:
        """Log a request that held nothing."""
        self._state = NotHeld.LOGGED
        self.record.outcome = outcome
        self.record.latency_ms = self.exchange.elapsed_ms()
        settlement.log(self.record)
