"""Many answers in little time: keep-alive connections that parse no more than where answers end."""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson
import uvloop

CHAT = "/v1/chat/completions"
LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
END_OF_CHUNKS = b"\r\n0\r\n\r\n"
STREAMED_EVERY = 10


def ask(
    address: str, headers: dict[str, str], count: int, *, connections: int = 32
) -> Counter[int]:
    """Ask for `count` answers, every tenth as a stream. Return how often each status came."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_ask(address, headers, count, connections))


async def _ask(address: str, headers: dict[str, str], count: int, connections: int) -> Counter[int]:
    parts, loop = urlsplit(address), asyncio.get_running_loop()
    kinds = [_request(parts.netloc, headers, streamed=i == 0) for i in range(STREAMED_EVERY)]
    asked = itertools.islice(itertools.cycle(kinds), count)
    statuses: Counter[int] = Counter()
    lines = [_Line(asked, statuses, loop.create_future()) for _ in range(connections)]
    for one in lines:
        await loop.create_connection(lambda one=one: one, parts.hostname, parts.port)
    await asyncio.gather(*(one.ended for one in lines))
    return statuses


def _request(host: str, headers: dict[str, str], *, streamed: bool) -> bytes:
    messages = [{"role": "user", "content": "Say something."}]
    body = orjson.dumps({"model": "scripted", "messages": messages, "stream": streamed})
    fields = {
        "Host": host,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    lines = [f"POST {CHAT} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Line(asyncio.Protocol):
    """One connection, which asks again as soon as it has been answered."""

    def __init__(self, asked: Iterator[bytes], statuses: Counter[int], ended: asyncio.Future):
        self._asked = asked
        self._statuses = statuses
        self._received = b""
        self.ended = ended

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        request = next(self._asked, None)
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._is_whole():
            self._statuses[int(self._received[9:12])] += 1
            self._received = b""
            self._ask()

    def _is_whole(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = LENGTH.search(self._received, 0, end + 2)
        if length is None:
            return self._received.endswith(END_OF_CHUNKS)
        return len(self._received) >= end + 4 + int(length[1])

    def connection_lost(self, error: Exception | None) -> None:
        if self._received:
            self._statuses[0] += 1
        self.ended.set_result(None)
