"""One operation in the commit queue, with the futures that its caller awaits."""

import asyncio
import dataclasses
from typing import Any

from billing.ledger import Grant
from gateway.commits.operations import Operation, Reserve, Settle, size_of
from gateway.models import ContentLeftOut


class CommitFailed(Exception):
    """The operation was not applied, or it is unknown whether it was."""


def _new_future() -> asyncio.Future:
    return asyncio.get_running_loop().create_future()


@dataclasses.dataclass(slots=True)
class Waiting:
    """An operation whose caller waits for the commit.

    `future` is done once the operation is committed, or earlier if the caller stopped waiting.
    `decided` belongs to a reservation and is done as soon as that is granted. `content_bytes` is
    the size of the content that the queue counts for a settlement.
    """

    operation: Operation
    future: asyncio.Future = dataclasses.field(default_factory=_new_future)
    decided: asyncio.Future | None = None
    timer: asyncio.TimerHandle | None = None
    content_bytes: int = 0

    def decide(self, result: Any) -> None:
        """Give the caller a granted result at once.

        A refusal waits for the commit: if that fails, the operation is decided again.
        """
        if self.decided and not self.decided.done() and not isinstance(result, Exception):
            self.decided.set_result(result)

    @property
    def is_given_up(self) -> bool:
        """True when the operation must not be applied any more.

        That is a reservation whose caller stopped waiting, or a settlement that was reported to
        its caller as failed. A settlement whose caller merely left is still applied.
        """
        if isinstance(self.operation, Reserve):
            return self.future.done()
        return isinstance(self.operation, Settle) and self.operation.is_given_up

    def time_out(self) -> None:
        self.fail(CommitFailed("the database took too long"))

    def fail(self, error: Exception) -> None:
        if isinstance(self.operation, Settle) and not self.future.done():
            self.operation.give_up()
        for future in (self.decided, self.future):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # Marks it as read: asyncio warns if no caller awaits it.


class Promise:
    """A reservation that is granted. Without a future it is committed already."""

    def __init__(self, grant: Grant, committed: asyncio.Future | None = None):
        self.grant = grant
        self._committed = committed

    async def kept(self) -> Grant:
        """Wait until the reservation is durable, and return the grant.

        The amount differs from the first one if the reservation had to be decided again.
        Raises as `CommitQueue.submit` does.
        """
        if self._committed is not None:
            if not self._committed.done():
                await asyncio.wait((self._committed,))
            self.grant = self._committed.result()
        return self.grant


class ContentRoom:
    """Bounds the bytes of content that wait in one queue."""

    def __init__(self, free_bytes: int):
        self._free_bytes = free_bytes

    def take(self, one: Waiting, operation: Settle) -> None:
        """Count the content of a settlement that begins to wait, or leave it out."""
        size = size_of(operation)
        if size > self._free_bytes:
            operation.leave_out_content(ContentLeftOut.BUSY)
        else:
            one.content_bytes = size
            self._free_bytes -= size

    def free(self, one: Waiting) -> None:
        """Free the room of an operation that waits no more. Safe to repeat."""
        self._free_bytes += one.content_bytes
        one.content_bytes = 0
