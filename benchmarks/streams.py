"""A client that reads many streams at once, as cheaply as the upstream writes them.

    python -m benchmarks.streams URL KEY MODEL COUNT OPEN_PER_S

It opens COUNT streams, OPEN_PER_S of them each second, reads them to their end and prints one
line of JSON. A line of standard input makes it print how many are open and how many events came.
"""

import asyncio
import dataclasses
import json
import math
import sys
import time
from urllib.parse import urlsplit

import uvloop

END = b"0\r\n\r\n"
EVENT = b'data: {"'
CONTENT = b'"content":'


@dataclasses.dataclass
class Tally:
    """The counts of all streams of a run."""

    events: int = 0
    open: int = 0
    finished: int = 0
    failed: int = 0
    first_token_s: list[float] = dataclasses.field(default_factory=list)

    def as_dict(self) -> dict:
        return {
            "events": self.events,
            "open": self.open,
            "finished": self.finished,
            "failed": self.failed,
            "p50_us": round(percentile(self.first_token_s, 0.50) * 1e6),
            "p99_us": round(percentile(self.first_token_s, 0.99) * 1e6),
        }


def percentile(values: list[float], share: float) -> float:
    """Return the smallest of `values` that is at least as large as `share` of them; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


class Stream(asyncio.Protocol):
    """One request on its own connection."""

    def __init__(self, request: bytes, tally: Tally, ended: asyncio.Future):
        self._request, self._tally, self._ended = request, tally, ended
        self._has_begun = False
        self._tail = b""

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._asked_at = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._has_begun and CONTENT in data:
            self._has_begun = True
            self._tally.open += 1
            self._tally.first_token_s.append(time.perf_counter() - self._asked_at)
        self._tally.events += data.count(EVENT)
        self._tail = (self._tail + data)[-len(END) :]
        if self._tail == END:
            self._tally.finished += 1
            self._transport.close()

    def connection_lost(self, error) -> None:
        self._tally.open -= self._has_begun
        self._tally.failed += self._tail != END
        if not self._ended.done():
            self._ended.set_result(None)


def request(url: str, key: str, model: str) -> bytes:
    """Return the bytes of a request for one stream."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    body = json.dumps(asked, separators=(",", ":")).encode()  # As official clients write it.
    head = (
        f"POST {urlsplit(url).path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(url: str, key: str, model: str, count: int, per_s: float) -> None:
    tally = Tally()
    reporting = asyncio.create_task(_report_when_asked(tally))
    asked, loop = request(url, key, model), asyncio.get_running_loop()
    port, ends = urlsplit(url).port, []
    start = loop.time()
    for number in range(count):
        await asyncio.sleep(start + number / per_s - loop.time())
        ends.append(ended := loop.create_future())
        await loop.create_connection(
            lambda ended=ended: Stream(asked, tally, ended), "127.0.0.1", port
        )
    await asyncio.gather(*ends)
    reporting.cancel()
    print(json.dumps(tally.as_dict()), flush=True)


async def _report_when_asked(tally: Tally) -> None:
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        print(json.dumps(tally.as_dict()), flush=True)


if __name__ == "__main__":
    url, key, model, count, per_s = sys.argv[1:]
    uvloop.run(run(url, key, model, int(count), float(per_s)))
