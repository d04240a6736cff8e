"""A provider in the loop of the test itself: it plays bytes, and keeps what it heard of its client.

    @story
    async def test_two_requests(provider):
        await provider.answers([sized(b"one")], [sized(b"two")[:-1], reset])
        assert await provider.ask() == b"one"
        assert await provider.ask_in_vain() == b"tw"

An answer is a list of steps: packets, and what else happens to the connection.
"""

import asyncio
import functools
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvloop

from gateway.providers.connection import Connection, Pool, Unreachable
from tests.support.provider.scripts import Head
from tests.support.provider.wire import Response

DEADLINE_S = 10
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def turns() -> None:
    """What was written to a socket of this machine has then been read by a peer in this loop."""
    for _ in range(3):
        await asyncio.sleep(0)


# --- Answers -------------------------------------------------------------------------------------


def sized(body: bytes, **fields: str) -> bytes:
    return Head(200, {"content-length": str(len(body)), **fields}).encode() + body


def chunked(*parts: bytes) -> bytes:
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""]]
    return Head(200, {}).encode() + b"".join(chunks)


ONE, TWO = sized(b"one"), sized(b"two")
CHUNKED = chunked(b"data: 1\n\n", b"data: 2\n\n")
HEAD = b"HTTP/1.1 200 OK\r\n"
UNTIL_THE_END = HEAD + b"\r\none"


class Wire:
    """One connection, as the provider sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer
        self.gone = asyncio.Event()
        if not writer.get_extra_info("sslcontext"):  # In TLS uvloop's drain() would never return.
            writer.transport.set_write_buffer_limits(0)  # drain() means: handed to the kernel

    async def hear(self, *, deaf: bool) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        assert found
        return head if deaf else head + await self.reader.readexactly(int(found[1]))

    async def send(self, packet: bytes) -> None:
        self.writer.write(packet)
        await self.writer.drain()
        await turns()


Step = bytes | Callable[[Wire], Awaitable[Any]]


async def close(wire: Wire) -> None:
    wire.writer.close()


async def reset(wire: Wire) -> None:
    Response(wire.writer).reset()


async def forever(wire: Wire) -> None:
    await asyncio.Event().wait()


def until(event: asyncio.Event) -> Step:
    return lambda wire: event.wait()


# --- The provider --------------------------------------------------------------------------------


class Provider:
    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]):
        self._new_loop = new_loop
        self._complaints: list[dict] = []
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task] = set()
        self._answers: Iterator[list[Step]] = iter(())
        self.deaf = False  # to what follows the head of a request
        self.wires: list[Wire] = []
        self.heard: list[bytes] = []
        self.url = ""

    def run(self, told: Coroutine) -> None:
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.run(self._lasting(told))
        assert self._complaints == []

    async def _lasting(self, told: Coroutine) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, complaint: self._complaints.append(complaint))
        self.pool, self._asked = Pool(), asyncio.Condition()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await told
        finally:
            self.pool.close()
            await self._stop()

    async def _stop(self) -> None:
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def answers(
        self, *answers: list[Step], host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        """To the next request, and to those after it. The first call listens."""
        self._answers = iter(answers)
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, host, 0, ssl=tls)
            self.port = self._server.sockets[0].getsockname()[1]
            self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/v1/chat"

    async def is_asked(self, times: int) -> None:
        async with self._asked:
            await self._asked.wait_for(lambda: len(self.heard) >= times)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        wire = Wire(reader, writer)
        self.wires.append(wire)
        with suppress(ConnectionError, EOFError, asyncio.CancelledError):
            await self._serve(wire)
        wire.gone.set()
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self._serving.discard(task)

    async def _serve(self, wire: Wire) -> None:
        while True:
            self.heard.append(await wire.hear(deaf=self.deaf))
            async with self._asked:
                self._asked.notify_all()
            for step in next(self._answers):
                await (wire.send(step) if isinstance(step, bytes) else step(wire))

    # Its client

    async def post(self, body: bytes = b"{}", *, key: str | None = None) -> Connection:
        return await self.pool.post(self.url, key, body)

    async def ask(self, body: bytes = b"{}", *, key: str | None = None) -> bytes:
        connection = await self.post(body, key=key)
        try:
            received = await rest_of(connection)
            assert await connection.read() == b""
        finally:
            connection.end()
        return received

    async def ask_in_vain(self) -> bytes:
        """What came of the body before the connection broke."""
        received: list[bytes] = []
        with pytest.raises(ConnectionError) as broken:
            await self._read_into(received)
        assert not isinstance(broken.value, Unreachable)
        return b"".join(received)

    async def _read_into(self, received: list[bytes]) -> None:
        connection = await self.post()
        try:
            while part := await connection.read():
                received.append(part)
        except ConnectionError:
            with pytest.raises(ConnectionError):
                await connection.read()  # It stays broken.
            raise
        finally:
            connection.end()


async def rest_of(connection: Connection) -> bytes:
    parts = []
    while part := await connection.read():
        parts.append(part)
    return b"".join(parts)


def story(test: Callable[..., Coroutine]) -> Callable[..., None]:
    """A test that is a coroutine: in each kind of loop, beside a provider of its own."""

    @pytest.mark.parametrize("provider", LOOPS.values(), ids=LOOPS)
    @functools.wraps(test)
    def run(provider: Callable[[], asyncio.AbstractEventLoop], **given: Any) -> None:
        its_own = Provider(provider)
        its_own.run(test(provider=its_own, **given))

    return run
