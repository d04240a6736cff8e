"""Bounds how many passwords are hashed at once in this process.

A hash takes 64 MiB and a core for some 200 ms, and strangers may ask for it: without a bound, sixty
sign-ins at once take gigabytes. Each caller waits for a turn, and is refused when it doesn't come
soon. Which account a password is for, and whether there is one, makes no difference here.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.conf import settings
from django.db import connections

from accounts.errors import PasswordsBusy

RETRY_AFTER_S = 2

_is_refused: ContextVar[bool] = ContextVar("is_refused", default=False)


class Turns:
    def __init__(self, at_once: int, wait_s: float) -> None:
        self._free = threading.Semaphore(at_once)
        self._wait_s = wait_s

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold one of the turns. Raises PasswordsBusy if none is free in time."""
        if _is_refused.get():
            raise PasswordsBusy
        if not self._free.acquire(blocking=False):
            _lend_connections()
            if not self._free.acquire(timeout=self._wait_s):
                raise PasswordsBusy
        try:
            yield
        finally:
            self._free.release()


@contextmanager
def refused() -> Iterator[None]:
    """Refuse every turn to this request, which has waited for too long already."""
    token = _is_refused.set(True)
    try:
        yield
    finally:
        _is_refused.reset(token)


def _lend_connections() -> None:
    """Give this thread's connections back to the pool, where other pages need them meanwhile."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


turns = Turns(settings.PASSWORD_HASHES_AT_ONCE, settings.PASSWORD_HASH_WAIT_S)
