"""A time limit for thousands of waits in a row, such as the reads of a stream.

`asyncio.timeout` makes and cancels a timer for each wait. Here one timer serves all waits: if it
fires before the current limit, it is just set again.
"""

import asyncio


class Alarm:
    """A time limit that cancels the task that set it, unless it is stopped in time.

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
        self._fires_at = 0.0  # Kept here: uvloop's timers give no time if they fire at once.
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
        """True when only this alarm has cancelled the task. The cancellation is then undone."""
        if not self._has_rung or self._task is None:
            return False
        return self._task.uncancel() <= self._cancelling

    def close(self) -> None:
        """Cancel the timer, because no further wait follows."""
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
            return  # No task waits. The next wait starts the timer again.
        if self._loop.time() < self._rings_at:
            self._start_timer()
        else:
            self._has_rung = True
            self._task.cancel()
