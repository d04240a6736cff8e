"""One operation in the commit queue, with the futures that its caller awaits."""

import asyncio
import dataclasses
from typing import Any

from gateway.commits.operations import Operation, Reserve, Settle


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
