"""One turn: the task that writes a reply, through a completion of the gateway like any other.

Text that the turn has read counts as delivered, because the person keeps it. So after Stop the
charge covers exactly the text that is shown.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import orjson
from django.db import Error as DatabaseError

from chat.models import Message
from chat.stored_replies import Snapshot
from gateway.access.authentication import Caller
from gateway.commits.operations import HoldClosed
from gateway.commits.queue import CommitFailed
from gateway.dialects.apis import Dialect
from gateway.dialects.chat import request as chat_request
from gateway.errors import GatewayError, InternalError, forget_frames
from gateway.models import ApiRequest
from gateway.providers.metering import Ending
from gateway.serving import completions, metrics
from gateway.serving.answers import StreamedAnswer
from gateway.serving.endings import Completion
from gateway.serving.exchange import Exchange

logger = logging.getLogger(__name__)

State = Message.State
STORE_INTERVAL_S = 1.0

Store = Callable[[Snapshot], Awaitable[State | None]]


class Answer:
    """The stream of a completion, collected here instead of written to a client."""

    waiting = 0

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.error: GatewayError | None = None

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    def feed(self, chunk: dict) -> bytes:
        said = b""
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            text = (delta.get("content") or "") + (delta.get("refusal") or "")
            reasoning = delta.get("reasoning") or ""
            self._text.append(text)
            self._reasoning.append(reasoning)
            said += (reasoning + text).encode()
        return said

    def ping(self) -> bytes:
        return b""

    def finish(self, usage: dict) -> bytes:
        return b""

    def fail(self, error: GatewayError) -> bytes:
        self.error = error
        return b""


class Turn:
    """A reply that is being written. `store` stores it, and says whether the turn must end."""

    task: asyncio.Task
    _reading: asyncio.Task

    def __init__(
        self,
        reply_id: uuid.UUID,
        caller: Caller,
        body: dict,
        *,
        request_id: uuid.UUID,
        store: Store | None = None,
    ):
        self.id = reply_id
        self.user_id = caller.user_id
        self.news = asyncio.Event()  # Set when there is more, and then replaced by a new event.
        self._answer = Answer()
        self._store_snapshot = store
        self._model = str(body["model"])
        self._state = State.STREAMING
        self._cost_nano: int | None = None
        self._ends_as = State.FINISHED
        exchange = Exchange(headers={}, query={}, ip="", receive=_given(body), id=request_id.hex)
        self._completion = Completion(exchange, caller, _dialect(self._answer))

    def begin(self) -> None:
        self._reading = asyncio.create_task(self._read())
        self.task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Stop. The text so far stays and is charged. Safe to repeat."""
        self._break_off(State.STOPPED)

    def interrupt(self) -> None:
        """Stop because this process ends. The text so far stays and is free."""
        self._break_off(State.INTERRUPTED)

    def _break_off(self, state: State) -> None:
        if self._ends_as is State.FINISHED and not self._reading.done():  # The first reason counts.
            self._ends_as = state
            self._reading.cancel()

    def snapshot(self) -> Snapshot:
        """Return the reply at this moment. A new state shows only once it is stored."""
        return self._snapshot(self._state, self._cost_nano)

    def _snapshot(self, state: State, cost_nano: int | None) -> Snapshot:
        record, error = self._completion.record, self._answer.error
        is_settled = cost_nano is not None
        return Snapshot(
            self.id,
            state.value,
            self._answer.text,
            self._answer.reasoning,
            record.model or self._model,
            record.provider,
            record.prompt_tokens if is_settled else 0,
            record.completion_tokens if is_settled else 0,
            is_settled and record.estimated,
            cost_nano,
            *((str(error.code), error.message) if error and state is State.FAILED else ("", "")),
        )

    # --- the task

    async def _run(self) -> None:
        with metrics.open_streams.track_inprogress():
            await self._store_until_done(self._reading)
        state = self._end()
        if state is State.STOPPED:  # Its person needn't wait for the bill.
            await self._enter(state, None)
        settling = asyncio.create_task(self._completion.wait_until_settled())
        await self._store_until_done(settling)
        await self._enter(*self._bill(state, settling))

    async def _read(self) -> None:
        answer = await completions.proceed(self._completion)
        assert isinstance(answer, StreamedAnswer)  # Without an Idempotency-Key no replay is found.
        async with aclosing(answer.parts()) as parts:
            async for _ in parts:
                self._announce()

    def _end(self) -> State:
        """Return how the reading has ended. Settling the cost begins then."""
        was_broken_off = self._reading.cancelled()
        try:
            if not was_broken_off:
                self._reading.result()
        except GatewayError as error:
            self._answer.error = error
            forget_frames(error)
        except Exception as error:  # The outermost edge: no traceback reaches a person.
            completions.log_fault(self._completion.exchange.id, error)
            self._answer.error = InternalError("Kyma failed. Nothing was charged.")
            forget_frames(error)
        was_stopped = was_broken_off and self._ends_as is State.STOPPED
        self._completion.abandon(Ending.CLIENT_GONE if was_stopped else Ending.KYMA_FAILED)
        if was_broken_off:
            return self._ends_as
        return State.FAILED if self._answer.error else State.FINISHED

    def _bill(self, state: State, settling: asyncio.Task) -> tuple[State, int]:
        """Return the final state of the reply, and its cost."""
        record, failure = self._completion.record, settling.exception()
        if failure is None:
            was_too_late = record.outcome == ApiRequest.Outcome.FINISHED  # to stop it
            return State.FINISHED if was_too_late else state, record.cost_nano
        if not isinstance(failure, CommitFailed | HoldClosed):
            raise failure
        logger.error("chat request %s could not be settled", self._completion.exchange.id)
        return state, 0

    async def _enter(self, state: State, cost_nano: int | None) -> None:
        await self._store(self._snapshot(state, cost_nano))
        self._state, self._cost_nano = state, cost_nano
        self._announce()

    async def _store_until_done(self, task: asyncio.Task) -> None:
        while not (await asyncio.wait({task}, timeout=STORE_INTERVAL_S))[0]:
            await self._store(self.snapshot())

    async def _store(self, snapshot: Snapshot) -> None:
        if self._store_snapshot is None:
            return
        try:
            ends_as = await self._store_snapshot(snapshot)
        except DatabaseError as error:
            logger.error("reply %s could not be stored: %s", self.id, type(error).__name__)
        else:
            if ends_as is not None:
                self._break_off(ends_as)

    def _announce(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def _dialect(answer: Answer) -> Dialect:
    return Dialect(
        "chat",
        read=chat_request.parse,
        whole=lambda *_: {},  # Never called, because the answer is streamed.
        open=lambda _: (answer, b""),
    )


def _given(body: dict) -> Callable[[], Awaitable[dict]]:
    raw = orjson.dumps(body)

    async def receive() -> dict:
        return {"type": "http.request", "body": raw}

    return receive
