"""One turn: the task that writes a reply, through a completion of the gateway like any other.

A person is charged only for text that they have. So the text is kept before it is charged: a stored
reply is stored, the reader of a temporary one has taken it. After Stop the charge covers exactly
the text that is shown.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import orjson
from django.db import Error as DatabaseError

from chat.answers import Answer, UnstoredAnswer
from chat.models import Message
from chat.stored_replies import Snapshot
from gateway.access.authentication import Caller
from gateway.commits.operations import HoldClosed
from gateway.commits.queue import CommitFailed
from gateway.errors import GatewayError, InternalError, forget_frames
from gateway.providers.metering import Ending
from gateway.serving import completions, metrics
from gateway.serving.answers import StreamedAnswer
from gateway.serving.endings import Completion
from gateway.serving.exchange import Exchange

logger = logging.getLogger(__name__)

State = Message.State
STORE_INTERVAL_S = 1.0
# How long the database may take to store a text before it is charged: beyond that it is free. A
# hold lasts longer (HOLD_GRACE_S).
KEEP_WITHIN_S = 30.0
# How long the reader of a temporary reply may take for its last piece. A page that is slow to show
# a long text asks for the next piece after some two seconds.
TAKE_WITHIN_S = 10.0

Store = Callable[[Snapshot], Awaitable[State | None]]


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
        store: Store,
        answer: Answer | None = None,
    ):
        self.id = reply_id
        self.user_id = caller.user_id
        self.news = asyncio.Event()  # Set when there is more, and then replaced by a new event.
        self._answer = answer or Answer()
        self._streamed: StreamedAnswer | None = None
        self._parts: AsyncGenerator[bytes] | None = None
        self._store_snapshot = store
        self._model = str(body["model"])
        self._state = State.STREAMING
        self._cost_nano: int | None = None
        self._ends_as = State.FINISHED
        exchange = Exchange(headers={}, query={}, ip="", receive=_given(body), id=request_id.hex)
        self._completion = Completion(exchange, caller, self._answer.dialect)

    def begin(self) -> None:
        self._reading = asyncio.create_task(self._read())
        self.task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Stop. The text so far stays and is charged. Safe to repeat, or when it is whole."""
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
        state, ending = await self._keep(self._state_at_the_end())
        settling = asyncio.create_task(self._settle(ending))
        await self._store_until_done(settling)
        await self._enter(*self._bill(state, settling))

    async def _read(self) -> None:
        """Read the answer as far as it goes before it is charged."""
        answer = await completions.proceed(self._completion)
        assert isinstance(answer, StreamedAnswer)  # Without an Idempotency-Key no replay is found.
        self._streamed, self._parts = answer, answer.parts()
        async for part in self._parts:
            if not part:  # FLUSH, or the end of an answer that failed.
                return
            self._announce()

    def _state_at_the_end(self) -> State:
        """Return the state in which the reading leaves the reply."""
        if self._reading.cancelled():
            return self._ends_as
        self._note_fault_of(self._reading)
        return State.FAILED if self._answer.error else State.FINISHED

    def _note_fault_of(self, ended: asyncio.Task) -> None:
        try:
            ended.result()  # This takes the traceback out of the task, unlike `exception()`.
        except GatewayError as error:
            self._answer.error = error
            forget_frames(error)
        except Exception as error:  # The outermost edge: no traceback reaches a person.
            completions.log_fault(self._completion.exchange.id, error)
            self._answer.error = InternalError("Kyma failed. Nothing was charged.")
            forget_frames(error)

    # --- keeping what is charged

    async def _keep(self, state: State) -> tuple[State, Ending]:
        """Keep a text that is about to be charged. Return the state and the ending to settle."""
        if state not in (State.FINISHED, State.STOPPED):
            return state, Ending.KYMA_FAILED  # It is free.
        is_whole = state is State.FINISHED
        if not await self._is_kept(State.STREAMING if is_whole else state):
            return self._not_kept(state)
        if not is_whole:  # Its person needn't wait for the bill.
            self._state = state
            self._announce()
        return state, Ending.FINISHED if is_whole else Ending.CLIENT_GONE

    async def _is_kept(self, state: State) -> bool:
        """Store the text. False if that is too late, or if the database takes too long."""
        try:
            async with asyncio.timeout(KEEP_WITHIN_S):
                return await self._store_at_last(self._snapshot(state, None))
        except TimeoutError:
            return False

    async def _store_at_last(self, snapshot: Snapshot) -> bool:
        """Store it once the database can. False if this turn was taken for dead meanwhile."""
        while True:
            try:
                return await self._store_snapshot(snapshot) is not State.INTERRUPTED
            except DatabaseError as error:
                self._log_unstored(error)
            await asyncio.sleep(STORE_INTERVAL_S)

    def _not_kept(self, state: State) -> tuple[State, Ending]:
        if state is State.FINISHED:
            state = State.FAILED
            self._answer.error = InternalError(
                "Kyma could not store this answer. Nothing was charged."
            )
        return state, Ending.KYMA_FAILED

    # --- settling

    async def _settle(self, ending: Ending) -> None:
        """Charge the whole answer, or end it otherwise. Raises as `settlement.settle` does."""
        if self._parts is not None:
            async with aclosing(self._parts):
                if ending is Ending.FINISHED:
                    await self._charge(self._parts)
        self._completion.abandon(Ending.KYMA_FAILED if ending is Ending.FINISHED else ending)
        await self._completion.wait_until_settled()

    async def _charge(self, parts: AsyncGenerator[bytes]) -> None:
        charging = asyncio.create_task(_read_to_the_end(parts))
        await asyncio.wait({charging})
        self._note_fault_of(charging)

    def _bill(self, state: State, settling: asyncio.Task) -> tuple[State, int]:
        """Return the final state of the reply, and its cost."""
        failure = settling.exception()
        if failure is None:
            cost_nano = self._completion.record.cost_nano
        elif isinstance(failure, CommitFailed | HoldClosed):
            logger.error("chat request %s could not be settled", self._completion.exchange.id)
            cost_nano = 0
        else:
            raise failure
        if state is State.FINISHED and self._answer.error and not cost_nano:
            state = State.FAILED
        return state, cost_nano

    # --- storing

    async def _enter(self, state: State, cost_nano: int | None) -> None:
        await self._store(self._snapshot(state, cost_nano))
        self._state, self._cost_nano = state, cost_nano
        self._announce()

    async def _store_until_done(self, task: asyncio.Task) -> None:
        while not (await asyncio.wait({task}, timeout=STORE_INTERVAL_S))[0]:
            await self._store(self.snapshot())

    async def _store(self, snapshot: Snapshot) -> None:
        try:
            ends_as = await self._store_snapshot(snapshot)
        except DatabaseError as error:
            self._log_unstored(error)
        else:
            if ends_as is not None:
                self._break_off(ends_as)

    def _log_unstored(self, error: DatabaseError) -> None:
        logger.error("reply %s could not be stored: %s", self.id, type(error).__name__)

    def _announce(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class TemporaryTurn(Turn):
    """A reply that only its reader keeps. It is charged as far as the reader has taken it."""

    _answer: UnstoredAnswer

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named, answer=UnstoredAnswer())
        self._reader_moved = asyncio.Event()
        self._reader_is_gone = False

    def take(self, snapshot: Snapshot) -> None:
        """Note that the reader has this snapshot."""
        self._answer.take(snapshot.text, snapshot.reasoning)
        self._reader_moved.set()

    def leave(self) -> None:
        """Note that the reader is gone, and stop."""
        self._reader_is_gone = True
        self._reader_moved.set()
        self.stop()

    async def _is_kept(self, state: State) -> bool:
        """Wait for the reader. False if it is gone or too slow, so that it has a part at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKE_WITHIN_S):
                while self._answer.waiting and not self._reader_is_gone:
                    self._reader_moved.clear()
                    await self._reader_moved.wait()
        if self._streamed is not None:
            self._streamed.note_delivered()
        return not self._answer.waiting

    def _not_kept(self, state: State) -> tuple[State, Ending]:
        return State.STOPPED, Ending.CLIENT_GONE


async def _read_to_the_end(parts: AsyncGenerator[bytes]) -> None:
    async for _ in parts:
        pass


def _given(body: dict) -> Callable[[], Awaitable[dict]]:
    raw = orjson.dumps(body)

    async def receive() -> dict:
        return {"type": "http.request", "body": raw}

    return receive
