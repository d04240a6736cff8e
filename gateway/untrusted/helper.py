"""The one helper process of a web process, for work whose time a stranger chooses.

    future = helper.ask("highlight", [["c", "int f()"]])    # never waits
    results = answered(future)                              # in a thread
    results = await answered_soon(future)                   # on an event loop

Results are by index. An item that failed, or took too long by itself, has None; an item that nobody
came to has no result. Without the helper there is no result at all, and callers show plain text.

A thread feeds the process, one job after the other. The process gets no socket, no environment and
no database; its limits are set in child.py. When it dies it is started again at once, then after
ever longer pauses if it goes on dying.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import IO, Any

import orjson
from django.conf import settings

from gateway.untrusted.framing import LENGTH

logger = logging.getLogger(__name__)

Results = dict[int, Any]

# -I: neither the environment nor the working folder decides which code runs.
_PROGRAM = "import sys; sys.path.append(sys.argv.pop()); from gateway.untrusted.child import main"
_COMMAND = [sys.executable, "-I", "-c", f"{_PROGRAM}; main()"]
CPU_S = 0.3  # for one item
MOST_WAITING = 16  # jobs; a job is a page or an update of a reply
_MOST_MEMORY = 200_000_000  # bytes of the helper, and of the process that does a job
_MOST_ANSWERED = 32_000_000  # bytes
_SHARE = 0.8  # of the time that callers wait: then the helper says how far it came
_SLACK_S = 2.0  # until the helper is taken for dead
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0


class Broken(Exception):
    """The helper died, fell silent, or wrote something that is no answer."""


@dataclass(frozen=True)
class _Job:
    content: bytes
    future: Future[Results]


class Helper:
    def __init__(self) -> None:
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MOST_WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0  # since the last answer
        self._rests_until = 0.0

    def ask(self, work: str, items: Sequence[Sequence[str]]) -> Future[Results]:
        """Queue a job, or answer at once that nothing is done if too many are waiting."""
        job = {
            "work": work,
            "items": items,
            "within_s": settings.UNTRUSTED_WAIT_S * _SHARE,
            "cpu_s": CPU_S,
        }
        future: Future[Results] = Future()
        self._feed()
        try:
            self._jobs.put_nowait(_Job(orjson.dumps(job), future))
        except queue.Full:
            future.set_result({})
        return future

    def start(self) -> None:
        """Start the process, so that the first job doesn't wait for it."""
        self.ask("highlight", [])

    def close(self) -> None:
        """End the process and its thread. A later job would start both again."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._kill()  # Or the job that it does would be waited for.
            self._jobs.put(None)
            thread.join()

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process and process.poll() is None else None

    def _feed(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="untrusted", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                job.future.set_result(self._results(job))
        self._end()

    def _results(self, job: _Job) -> Results:
        if time.monotonic() < self._rests_until:
            return {}
        try:
            results = self._exchange(job)
        except (OSError, ValueError, TypeError, Broken) as error:
            self._note_death(error)
            return {}
        self._deaths = 0
        return results

    def _exchange(self, job: _Job) -> Results:
        process = self._process
        if process is None or process.poll() is not None:
            self._end()
            process = self._process = _start()
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + settings.UNTRUSTED_WAIT_S + _SLACK_S
        _write(process.stdin, LENGTH.pack(len(job.content)) + job.content, deadline)
        (length,) = LENGTH.unpack(_read(process.stdout, LENGTH.size, deadline))
        if length > _MOST_ANSWERED:
            raise Broken(f"an answer of {length} bytes")
        return dict(orjson.loads(_read(process.stdout, length, deadline)))

    def _note_death(self, error: Exception) -> None:
        """Let the next process start at once after the first death, then after longer pauses."""
        code = self._end()
        pause_s = min(_FIRST_PAUSE_S * 2**self._deaths, _LONGEST_PAUSE_S) if self._deaths else 0
        self._deaths += 1
        self._rests_until = time.monotonic() + pause_s
        if self._thread is not None:  # It isn't being closed.
            logger.warning(
                "the helper for untrusted work ended (%s, %s); another may start in %.1f s",
                *(code, type(error).__name__, pause_s),
            )

    def _end(self) -> int | None:
        """Kill the process, and return how it ended."""
        self._kill()
        process, self._process = self._process, None
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return process.wait()

    def _kill(self) -> None:
        """Kill the process, with the one in which it does a job."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


def _start() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [*_COMMAND, str(_MOST_MEMORY), str(settings.BASE_DIR)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # A traceback could hold the text.
        cwd="/",
        env={},
        start_new_session=True,  # Ctrl-C ends the web process, which ends this one.
    )
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    return process


def _write(target: IO[bytes], content: bytes, deadline: float) -> None:
    """Write all of `content`. Raises Broken after the deadline."""
    left = memoryview(content)
    while left:
        _wait(target, select.POLLOUT, deadline)
        left = left[target.write(left) or 0 :]


def _read(source: IO[bytes], length: int, deadline: float) -> bytes:
    """Return exactly `length` bytes. Raises Broken after the deadline, or if there are no more."""
    read = bytearray()
    while len(read) < length:
        _wait(source, select.POLLIN, deadline)
        part = source.read(length - len(read))
        if not part:
            raise Broken("the output ended")
        read += part
    return bytes(read)


def _wait(pipe: IO[bytes], event: int, deadline: float) -> None:
    waiting = select.poll()
    waiting.register(pipe, event)
    left_s = deadline - time.monotonic()
    if left_s <= 0 or not waiting.poll(left_s * 1000):
        raise Broken("no answer in time")


def answered(future: Future[Results]) -> Results:
    """Return the results, or those of nothing if they take too long. Blocks its thread."""
    try:
        return future.result(settings.UNTRUSTED_WAIT_S)
    except TimeoutError:
        future.cancel()
        return {}


async def answered_soon(future: Future[Results]) -> Results:
    """Return the results, or those of nothing if they take too long."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), settings.UNTRUSTED_WAIT_S)
    except TimeoutError:
        return {}


helper = Helper()
atexit.register(helper.close)
