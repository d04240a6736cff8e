"""The load generators: wrk for whole answers, `streams.py` for streams, both on the other core."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import OTHER_CORE

PINNED = ["taskset", "--cpu-list", str(OTHER_CORE)]
SCRIPT = Path(__file__).with_name("request.lua")
PATH = "/v1/chat/completions"


@dataclasses.dataclass(frozen=True)
class Target:
    """A server that can be asked: a gateway, or the upstream itself."""

    base_url: str
    key: str = "none"
    prefix: str = ""  # of the models' names

    @property
    def url(self) -> str:
        return self.base_url + PATH


@dataclasses.dataclass(frozen=True)
class Answers:
    """The counts and times that wrk reports."""

    requests: int
    duration_us: int
    p50_us: float
    p99_us: float
    failed: int

    @property
    def per_s(self) -> float:
        return self.requests / self.duration_us * 1e6


def ask(target: Target, model: str, *, concurrent: int, duration_s: int) -> Answers:
    """Ask over and over on `concurrent` connections. Raises RuntimeError if an answer fails."""
    body = {"model": target.prefix + model, "messages": [{"role": "user", "content": "Hello"}]}
    command = [
        *(*PINNED, "wrk", "--threads", "1", "--connections", str(concurrent)),
        *("--duration", f"{duration_s}s", "--timeout", "10s", "--script", str(SCRIPT), target.url),
        *("--", json.dumps(body, separators=(",", ":")), f"Bearer {target.key}"),
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answers = parse(output)
    if answers.failed or not answers.requests:
        raise RuntimeError(f"wrk {target.url}: {answers.failed} failed\n{output}")
    return answers


def parse(output: str) -> Answers:
    """Return the report that `request.lua` prints at the end of wrk's output."""
    return Answers(**json.loads(output.strip().splitlines()[-1]))


class Streams:
    """Streams that another process reads."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def now(self) -> dict:
        """Return what they have received so far."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> dict:
        """Wait until each stream has ended, and return what they have received in all."""
        return json.loads(self._process.communicate()[0].strip().splitlines()[-1])


@contextlib.contextmanager
def streams(target: Target, model: str, *, count: int, per_s: float) -> Iterator[Streams]:
    command = [
        *(*PINNED, sys.executable, "-m", "benchmarks.streams"),
        *(target.url, target.key, target.prefix + model, str(count), str(per_s)),
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            yield Streams(process)
        finally:
            process.kill()
