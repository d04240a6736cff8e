"""Knows for how long a database has written nothing although operations waited."""

import time

# A failure counts for so long. A process that gets no requests, since it isn't ready, tries again.
FORGOTTEN_AFTER_S = 5.0


class Silence:
    """The writer reports to it; any thread may ask for its length."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._is_waiting = False
        self._failed_at = 0.0

    @property
    def seconds(self) -> float:
        now = time.monotonic()
        is_over = not self._is_waiting and now - self._failed_at > FORGOTTEN_AFTER_S
        return 0.0 if self._since is None or is_over else now - self._since

    def asked(self) -> None:
        """Note that a batch goes to the database."""
        if not self.seconds:
            self._since = time.monotonic()
        self._is_waiting = True

    def answered(self, *, ends: bool) -> None:
        """Note that the database answered. It `ends` the silence if it could have written."""
        self._is_waiting = False
        if ends:
            self._since = None

    def failed(self) -> None:
        """Note that the database is out of reach, or can't write."""
        self._is_waiting = False
        self._failed_at = time.monotonic()
