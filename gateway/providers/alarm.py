"""A time limit for waits that follow each other by the thousand, as a stream's reads do.

`asyncio.timeout` makes and cancels a timer for each wait. Here one timer serves them all: when it
fires early it is only set anew.
"""

import asyncio


class Alarm:
    """Cancels the task that set it, unless it is stopped in time.

    alarm.set(10)
    try:
        await something
    except asyncio.CancelledError:
        if alarm.was_it():
            raise TimeoutError from None
        raise
    finally:
        alarm.stop()
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._fires_at = 0.0  # uvloop's own timers don't tell if they are to fire at once.
        self._task: asyncio.Task | None = None
        self._rings_at = 0.0
        self._has_rung = False
        self._cancelling = 0

    def set(self, after_s: float) -> None:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._has_rung = False
        self._rings_at = self._loop.time() + after_s
        if self._timer is None or self._fires_at > self._rings_at:
            self._start_timer()

    def stop(self) -> None:
        self._task = None

    def was_it(self) -> bool:
        """Whether the task was cancelled by this alarm alone; it takes that back."""
        if not self._has_rung or self._task is None:
            return False
        return self._task.uncancel() <= self._cancelling

    def close(self) -> None:
        """No wait follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_timer(self) -> None:
        self.close()
        self._fires_at = self._rings_at
        self._timer = self._loop.call_at(self._fires_at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._task is None:
            return  # Nobody waits; who does next starts it again.
        if self._loop.time() < self._rings_at:
            self._start_timer()
        else:
            self._has_rung = True
            self._task.cancel()
