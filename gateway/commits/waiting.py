"""One operation in the commit queue, and who waits for it."""

import asyncio
import dataclasses
from typing import Any

from gateway.commits.operations import Operation, Reserve, Settle


class CommitFailed(Exception):
    """The operation was not applied, or nobody knows whether it was."""


def _new_future() -> asyncio.Future:
    return asyncio.get_running_loop().create_future()


@dataclasses.dataclass(slots=True)
class Waiting:
    """`future` is done once it is committed, or before its time if nobody waits for it any more;
    `decided` of a reservation as soon as it is granted.
    """

    operation: Operation
    future: asyncio.Future = dataclasses.field(default_factory=_new_future)
    decided: asyncio.Future | None = None
    timer: asyncio.TimerHandle | None = None

    def decide(self, result: Any) -> None:
        """What is granted. A refusal waits for the commit: it may be undone until then."""
        if self.decided and not self.decided.done() and not isinstance(result, Exception):
            self.decided.set_result(result)

    @property
    def is_given_up(self) -> bool:
        """A reservation that nobody waits for, or a settlement whose caller was told that it
        failed. One whose caller has just gone is settled all the same.
        """
        if isinstance(self.operation, Reserve):
            return self.future.done()
        return isinstance(self.operation, Settle) and self.operation.is_given_up

    def time_out(self) -> None:
        self.fail(CommitFailed("the database took too long"))

    def fail(self, error: Exception) -> None:
        if isinstance(self.operation, Settle) and not self.future.done():
            self.operation.is_given_up = True
        for future in (self.decided, self.future):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # Nobody may be waiting: then it isn't worth a warning.
