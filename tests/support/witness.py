"""How another account fares meanwhile: its stream, `/health`, and the memory of the process.

`python -m tests.support.witness ADDRESS KEY MODEL PROMPT` reads a stream and asks for `/health`
until its input closes, then prints what it has seen as JSON.
"""

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
HEALTH_EVERY_S = 0.1
MEMORY_EVERY_S = 0.05
TIMEOUT_S = 60
MB = 1_000_000
# Another address than that of the attack, since a flood may end idle connections of its own.
ELSEWHERE = "127.0.0.2"


class Seen(NamedTuple):
    """The longest waits in ms; `events` is how many events of the stream came."""

    gap_ms: float
    health_ms: float
    events: int
    failed: str


class Witness:
    """The process that looks on, as a context manager. After the block `seen` is set."""

    seen: Seen

    def __init__(self, address: str, key: str, *, model: str, prompt: str):
        self._command = [sys.executable, "-m", "tests.support.witness", address, key, model, prompt]

    def __enter__(self) -> "Witness":
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "watching\n"
        return self

    def __exit__(self, *exc_info) -> None:
        output, _ = self._process.communicate()
        self.seen = Seen(**json.loads(output))


class Memory:
    """The most memory that a process and its children have had, seen from a thread."""

    def __init__(self, pid: int):
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.most_bytes = 0

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(MEMORY_EVERY_S):
            self.most_bytes = max(self.most_bytes, resident_bytes(self._pid))


def resident_bytes(pid: int) -> int:
    """The resident memory of a process and all its children."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(_status(folder)["PPid"])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    total = 0
    for member in family:
        with contextlib.suppress(OSError, KeyError):  # It has just ended, or is a zombie.
            total += 1024 * int(_status(Path("/proc", str(member)))["VmRSS"].removesuffix("kB"))
    return total


def _status(folder: Path) -> dict[str, str]:
    lines = (folder / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


# --- In the process that looks on


class _Watch:
    def __init__(self, address: str):
        self._host = urlsplit(address).netloc
        self.ended = threading.Event()
        self.gap_s = self.health_s = 0.0
        self.events = 0
        self.failed = ""

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(
            self._host, timeout=TIMEOUT_S, source_address=(ELSEWHERE, 0)
        )

    def read_stream(self, key: str, model: str, prompt: str) -> None:
        connection = self._connection()
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        last = time.monotonic()
        while not self.ended.is_set():
            line = response.readline()
            if not line or response.status != 200:
                self.failed = f"the stream ended: {response.status} {line!r}"
                return
            now = time.monotonic()
            self.gap_s, last = max(self.gap_s, now - last), now
            if line.startswith(b"data: "):
                self.events += 1
                if self.events == 1:
                    print("watching", flush=True)

    def ask_health(self) -> None:
        while not self.ended.wait(HEALTH_EVERY_S):
            began = time.monotonic()
            connection = self._connection()
            try:
                connection.request("GET", "/health")
                if (status := connection.getresponse().status) != 200:
                    self.failed = f"/health answered {status}"
            except OSError as error:
                self.failed = f"/health: {error!r}"
            finally:
                connection.close()
            self.health_s = max(self.health_s, time.monotonic() - began)


def main(address: str, key: str, model: str, prompt: str) -> None:
    watch = _Watch(address)
    threads = [
        threading.Thread(target=watch.read_stream, args=(key, model, prompt)),
        threading.Thread(target=watch.ask_health),
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    watch.ended.set()
    for thread in threads:
        thread.join()
    print(
        json.dumps(
            {
                "gap_ms": 1000 * watch.gap_s,
                "health_ms": 1000 * watch.health_s,
                "events": watch.events,
                "failed": watch.failed,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
