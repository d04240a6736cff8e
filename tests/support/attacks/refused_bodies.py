"""Large bodies that are refused: each must cost the process its upload, and nothing that lasts.

Without credit a key gets 402, beyond its rate 429. Wrong fields, unknown models and prompts beyond
every context are 400, and bodies beyond the limit 413.
"""

import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

CHAT = "/v1/chat/completions"
MB = 1_000_000
CONNECTIONS = 8
DEADLINE_S = 30
MODEL = "scripted"


def run(
    address: str, *, key: str, seconds: float, connections: int = CONNECTIONS, size: int = 5 * MB
) -> Counter[int]:
    """Send refused bodies of every kind over and over. Return how often each status came."""
    kinds = itertools.cycle(bodies(size).values())
    ends_at = time.monotonic() + seconds
    raws = itertools.takewhile(lambda _: time.monotonic() < ends_at, kinds)
    return send_all(address, key, raws, connections=connections)


def bodies(size: int, model: str = MODEL) -> dict[str, bytes]:
    """Return a body of about `size` bytes for each way to be refused."""
    messages = [{"role": "user", "content": "x" * size}]
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * size}"}}
    seen = [{"role": "user", "content": [{"type": "text", "text": "Hello"}, image]}]
    kinds = {
        "a wrong field": {"model": model, "messages": messages, "temperature": "hot"},
        "an unknown model": {"model": "none-such", "messages": messages},
        "a long prompt": {"model": model, "messages": messages},
        "a dear picture": {"model": model, "messages": seen},
    }
    return {
        **{name: json.dumps(body).encode() for name, body in kinds.items()},
        "no JSON": b"[" + b" " * size,
        "too much": b" " * (10 * MB + 1),
    }


def send_all(address: str, key: str, raws: Iterator[bytes], *, connections: int) -> Counter[int]:
    """Post each of `raws` once, over so many connections at once."""
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def attack() -> None:
        line = _Line(address, key)
        while True:
            with lock:
                raw = next(raws, None)
            if raw is None:
                return line.close()
            status = line.post(raw)
            with lock:
                statuses[status] += 1

    threads = [threading.Thread(target=attack) for _ in range(connections)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return statuses


class _Line:
    """One keep-alive connection, made again when it has ended."""

    def __init__(self, address: str, key: str):
        parts = urlsplit(address)
        self._place = (parts.hostname, parts.port or 80)
        self._head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self._socket: socket.socket | None = None

    def post(self, raw: bytes) -> int:
        """Return the status of the answer, or 0 if the connection broke before it."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._place, DEADLINE_S)
            self._socket.sendall(f"{self._head}{len(raw)}\r\n\r\n".encode())
            with suppress(ConnectionError):  # It may be answered before all of it is sent.
                self._socket.sendall(raw)
            return self._read()
        except OSError:
            self.close()
            return 0

    def _read(self) -> int:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._part()
        head, _, body = received.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        left = int(fields[b"content-length"]) - len(body)
        while left > 0:
            left -= len(self._part())
        if fields.get(b"connection") == b"close":
            self.close()
        return int(head.split()[1])

    def _part(self) -> bytes:
        assert self._socket is not None
        part = self._socket.recv(65536)
        if not part:
            raise ConnectionResetError
        return part

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
