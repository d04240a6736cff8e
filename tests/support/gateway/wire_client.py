"""A client that sees the bytes of one HTTP exchange, also of one that is cut short."""

import socket
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from billing import pricing
from tests.support.live import DEADLINE_S

CHAT = "/v1/chat/completions"
DONE = b"[DONE]"


class WireClient:
    """One request on a connection of its own. `received` is all that has come so far.

    A small `receive_buffer` keeps the kernel from taking much of an answer that nobody reads.
    """

    def __init__(self, port: int, *, receive_buffer: int | None = None):
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_S)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.received = b""
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> "WireClient":
        return self

    def __exit__(self, *exc_info) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_head(self, headers: dict[str, str], path: str = CHAT) -> None:
        """The head of a POST. The connection ends with the answer unless told not to."""
        fields = {"Host": "localhost", "Connection": "close", **headers}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def post(self, body: dict, headers: dict[str, str], path: str = CHAT) -> None:
        """Ask for a chat completion, or something else at `path`."""
        content = orjson.dumps(body)
        self.send_head({**headers, "Content-Length": str(len(content))}, path)
        self.send(content)

    def read_until(self, wanted: bytes) -> None:
        while wanted not in self.received:
            part = self.socket.recv(65536)
            assert part, f"closed after {self.received[-500:]!r}"
            self.received += part

    def read_to_the_end(self) -> "Answer":
        """What came until the connection ended, however it did."""
        parts = [self.received]
        with self.socket, suppress(ConnectionError):
            while part := self.socket.recv(65536):
                parts.append(part)
        self.received = b"".join(parts)
        return Answer.of(self.received)


@dataclass(frozen=True)
class Answer:
    """A response as far as it came; status 0 if not even its head did."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @classmethod
    def of(cls, received: bytes) -> "Answer":
        head, found, body = received.partition(b"\r\n\r\n")
        if not found:
            return cls(0, {}, b"")
        status, *lines = head.decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        if headers.get("transfer-encoding") == "chunked":
            body = _unchunked(body)
        return cls(int(status.split()[1]), headers, body)

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type") == "text/event-stream; charset=utf-8"

    @property
    def events(self) -> list[bytes]:
        """The data of each event that came whole."""
        *frames, _ = self.body.split(b"\n\n")
        return [frame.removeprefix(b"data: ") for frame in frames if not frame.startswith(b":")]

    @property
    def chunks(self) -> list[dict]:
        return [orjson.loads(event) for event in self.events if event != DONE]

    @property
    def text(self) -> str:
        """The content of the first choice, as far as a stream came."""
        deltas = (choice["delta"] for chunk in self.chunks for choice in chunk["choices"])
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing that a client would wait for."""
        if self.is_stream:
            return self.events[-1:] == [DONE]
        return self.status > 0 and self.missing_bytes == 0

    @property
    def missing_bytes(self) -> int:
        return int(self.headers["content-length"]) - len(self.body)

    @property
    def cost_nano(self) -> int:
        """What a whole answer says that it costs."""
        usage = self.chunks[-1]["usage"] if self.is_stream else orjson.loads(self.body)["usage"]
        return pricing.nano(f"{usage['cost']:.9f}")


def _unchunked(body: bytes) -> bytes:
    """The content of those HTTP chunks that came, the last one maybe in part."""
    content = b""
    while b"\r\n" in body:
        size, _, rest = body.partition(b"\r\n")
        content += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return content
