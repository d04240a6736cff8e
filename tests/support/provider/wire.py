"""The fake provider's HTTP/1.1: reads requests, plays the steps of a script as bytes."""

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from tests.support.provider.scripts import (
    Bytes,
    Close,
    Done,
    End,
    Event,
    Head,
    Pause,
    RawBytes,
    Reset,
    Silence,
    Split,
    Step,
    WaitFor,
)

READ_LIMIT = 1 << 20
WAIT_FOR_DEADLINE_S = 30.0
SILENCE_GATE = ""
_NO_WAITING = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing resets
_TOKEN = re.compile(r"script:([0-9a-f]{16})")


class NotUnderstood(Exception):
    """The client doesn't speak the HTTP that this server reads."""


class BrokenScript(Exception):
    """The script can't be played: its author must hear of it."""


@dataclass(slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    json: Any
    keep_alive: bool

    @property
    def prompt(self) -> str:
        """The text of the last user message, or of `prompt` or `input` where there are none."""
        if not isinstance(self.json, dict):
            return ""
        messages = self.json.get("messages")
        if not isinstance(messages, list):
            return _text(self.json.get("prompt") or self.json.get("input"))
        said = (m for m in reversed(messages) if isinstance(m, dict) and m.get("role") == "user")
        return _text(next(said, {}).get("content"))

    @property
    def script_ids(self) -> list[str]:
        prompt = self.prompt
        return _TOKEN.findall(prompt) if "script:" in prompt else []

    @property
    def wants_stream(self) -> bool:
        return isinstance(self.json, dict) and bool(self.json.get("stream"))


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ahead: bytes
) -> Request:
    """The next request, of which `ahead` has been read. Raises EOFError if there is none."""
    method, path, version, headers = _parse_head(ahead + await reader.readuntil(b"\r\n\r\n"))
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal():
        raise NotUnderstood("request bodies need a content-length")
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(Head(100, {}).encode())
    body = await reader.readexactly(int(length))
    keep_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return Request(method, path, headers, body, _json(body), keep_alive)


def _parse_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    try:
        method, path, version = first.split(" ")
    except ValueError:
        raise NotUnderstood(first) from None
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return method, path, version, headers


class Response:
    """One response on its way out. `reusable` says afterwards whether the connection is."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        gate: Callable[[str], asyncio.Event] = lambda _: asyncio.Event(),
    ) -> None:
        self.reusable = False
        self._writer = writer
        self._gate = gate
        self._over = False
        self._chunked = False
        self._body_left: int | None = None  # of a declared content-length
        self._closing = False

    async def play(self, steps: Sequence[Step]) -> None:
        for step in steps:
            await self._take(step)
            if self._over:
                return
        self._close()

    async def _take(self, step: Step) -> None:
        match step:
            case Bytes() | Event() | Done():
                await self._send(step.data)
            case Head():
                self._frame(step)
                await self._write(step.encode())
            case RawBytes():
                await self._write(step.data)
            case Split():
                await self._send_split(step)
            case Pause():
                await asyncio.sleep(step.seconds)
            case Silence():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._gate(SILENCE_GATE).wait(), step.seconds_max)
            case WaitFor():
                await self._wait_for(step.name)
            case End():
                await self._end()
            case Reset():
                self.reset()
            case Close():
                self._close()
            case _:
                raise BrokenScript(f"{step!r} is no step")

    def reset(self) -> None:
        self._over, self.reusable = True, False
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_WAITING)
        self._writer.transport.abort()

    def _close(self) -> None:
        self._over, self.reusable = True, False
        self._writer.close()

    def _frame(self, head: Head) -> None:
        if head.status < 200:
            return
        fields = {name.lower(): value for name, value in head.fields()}
        self._closing = fields.get("connection", "").lower() == "close"
        self._chunked = "chunked" in fields.get("transfer-encoding", "")
        if not head.has_body:
            self._body_left = 0
        elif "content-length" in fields:
            self._body_left = int(fields["content-length"])

    async def _send(self, data: bytes) -> None:
        if self._body_left is not None:
            self._body_left -= len(data)
        if not self._chunked:
            await self._write(data)
        elif data:  # an empty chunk would end the body
            await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def _send_split(self, split: Split) -> None:
        for number, piece in enumerate(split.pieces()):
            if number and split.gap_s:
                await asyncio.sleep(split.gap_s)
            await (self._write(piece) if split.raw else self._send(piece))

    async def _write(self, data: bytes) -> None:
        # The turn of the loop comes before the write. After it, a client that leaves on having
        # read [DONE] would sometimes be seen to leave before the script's End.
        await asyncio.sleep(0)
        self._writer.write(data)
        await self._writer.drain()

    async def _end(self) -> None:
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()
        whole = self._chunked or self._body_left == 0
        self._over, self.reusable = True, whole and not self._closing
        if not self.reusable:
            self._writer.close()

    async def _wait_for(self, name: str) -> None:
        try:
            await asyncio.wait_for(self._gate(name).wait(), WAIT_FOR_DEADLINE_S)
        except TimeoutError:
            raise BrokenScript(f"no go for {name!r} in {WAIT_FOR_DEADLINE_S} s") from None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "".join(text for text in texts if isinstance(text, str))


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
