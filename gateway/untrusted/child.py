"""The program in the helper process. It knows no secret and imports no Django.

It reads jobs from its standard input and answers each on its standard output (framing.py). The
items of a job are done in a process of their own, which the kernel ends when an item takes too much
processor time. The helper itself ends with its input, so it can't outlive the web process.
"""

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from gateway.untrusted import coloring
from gateway.untrusted.framing import LENGTH

WORK = {"highlight": coloring.highlighted}


def main() -> None:
    """Serve until the input ends. The argument is the most memory, in bytes, that we may use."""
    coloring.load()
    _limit(int(sys.argv[1]))
    while head := sys.stdin.buffer.read(LENGTH.size):
        job = json.loads(sys.stdin.buffer.read(*LENGTH.unpack(head)))
        sys.stdout.buffer.write(_framed(_answer(job)))
        sys.stdout.buffer.flush()


def _limit(memory_bytes: int) -> None:
    limits = {"AS": memory_bytes, "CORE": 0, "FSIZE": 0, "NOFILE": 16}
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def _answer(job: dict) -> list[list]:
    """Return [index, result] for each item reached in time. The result of a failed one is null."""
    deadline = time.monotonic() + job["within_s"]
    items = job["items"]
    results: list[Any] = []
    while len(results) < len(items) and time.monotonic() < deadline:
        done, is_late = _done_apart(job, len(results), deadline)
        results += done
        if not is_late and len(results) < len(items):
            results.append(None)  # The process died of this item. The next ones get another.
    return list(map(list, enumerate(results)))


def _done_apart(job: dict, start: int, deadline: float) -> tuple[list, bool]:
    """Return the results of the items from `start` on, and True if the deadline ended them."""
    receiving, sending = os.pipe()
    worker = os.fork()
    if not worker:
        _work(job, start, sending)
    os.close(sending)
    written, is_late = bytearray(), False
    while not is_late:
        left_s = max(deadline - time.monotonic(), 0)
        is_late = not select.select([receiving], [], [], left_s)[0]
        part = b"" if is_late else os.read(receiving, 65536)
        if not part:
            break
        written += part
    os.close(receiving)
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    return list(_whole(bytes(written))), is_late


def _work(job: dict, start: int, sending: int) -> NoReturn:
    """Do the items, each within its time: SIGPROF ends this process, even inside of a regex."""
    try:
        with open(sending, "wb") as results:
            for item in job["items"][start:]:
                signal.setitimer(signal.ITIMER_PROF, job["cpu_s"])
                results.write(_framed(_result(job["work"], item)))
                results.flush()
    finally:
        os._exit(0)


def _result(work: str, item: list) -> Any:
    try:
        return WORK[work](*item)
    except Exception:  # Hostile text may break a lexer in any way, or use up the memory.
        return None


def _framed(value: Any) -> bytes:
    written = json.dumps(value).encode()
    return LENGTH.pack(len(written)) + written


def _whole(written: bytes) -> Iterator[Any]:
    """Yield the values that were written to their end."""
    at = 0
    while at + LENGTH.size <= len(written):
        (length,) = LENGTH.unpack_from(written, at)
        at += LENGTH.size + length
        if at <= len(written):
            yield json.loads(written[at - length : at])
