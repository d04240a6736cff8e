"""HTTP/1.1 to providers, as much of it as an answer takes: a POST, and what comes back.

One request at a time on each connection, which is kept for the next one. The parser is httptools',
as in the web server. Why this is no library's client: docs/decisions.md.
"""

import asyncio
import functools
import socket
import ssl
import time
from collections import defaultdict, deque
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import aiohappyeyeballs
import httptools
from django.conf import settings

MAX_HEAD_BYTES = 64_000  # The same for whatever else is no part of the body.
MAX_WAITING_BYTES = 2**18  # What nobody has read yet: the provider has to wait then.
# Most providers close what is idle for a minute or more, but vLLM after 5 s: a request that is sent
# at that moment fails. So where one was seen to hang up sooner, connections are used for a part of
# that time only.
KEPT_S = 15
USED_PART = 0.8
LEAST_KEPT_S = 1  # Who hangs up sooner than that has restarted, and means nothing by it.
NEXT_ADDRESS_AFTER_S = 0.25  # RFC 8305: a host's next address is tried beside one that is slow.
HEADERS = (
    "User-Agent: Kyma",
    "Accept: */*",
    "Accept-Encoding: identity",
    "Content-Type: application/json",
)


class Unreachable(ConnectionError):
    """There is no connection to the provider."""


class Origin(NamedTuple):
    host: str
    port: int
    is_tls: bool


class Pool:
    """The connections of this process that wait for a request. Belongs to one event loop."""

    def __init__(self) -> None:
        self._idle: defaultdict[Origin, deque[Connection]] = defaultdict(deque)
        self._used_s: dict[Origin, float] = {}  # Where it is shorter than KEPT_S.
        self._is_closed = False

    async def post(self, url: str, api_key: str | None, body: bytes) -> "Connection":
        """The connection on which the answer has begun to come. Raises ConnectionError.

        Whoever has it ends it, and leaves it alone then: another request may have it.
        """
        origin, head = request_head(url, api_key)
        connection = self._kept(origin) or await self._connect(origin)
        try:
            await connection.ask(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        except BaseException:
            connection.end()
            raise
        return connection

    def _kept(self, origin: Origin) -> "Connection | None":
        """The one that was used last: those that have been idle for long needn't be kept."""
        idle = self._idle[origin]
        while idle and idle[-1].is_closing:
            self.lost(idle[-1])
        if idle and idle[-1].idle_s < self._used_s.get(origin, KEPT_S):
            return idle.pop()
        return None

    async def _connect(self, origin: Origin) -> "Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(settings.UPSTREAM_CONNECT_TIMEOUT_S):
                addresses = await loop.getaddrinfo(
                    origin.host, origin.port, type=socket.SOCK_STREAM
                )
                connected = await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S, interleave=1
                )
                _, connection = await loop.create_connection(
                    lambda: Connection(self, origin),
                    sock=connected,
                    ssl=_tls() if origin.is_tls else None,
                    server_hostname=origin.host if origin.is_tls else None,
                )
        except OSError as error:  # TimeoutError and whatever TLS doesn't trust are among them.
            raise Unreachable(f"no connection to {origin.host}") from error
        return connection

    def keep(self, connection: "Connection") -> None:
        """For the next request to the same origin."""
        if self._is_closed:
            connection.close()
            return
        idle = self._idle[connection.origin]
        idle.append(connection)
        while idle[0].idle_s >= KEPT_S:
            oldest = idle.popleft()
            if not oldest.is_closing:  # So its provider, too, keeps them for that long.
                self._used_s.pop(connection.origin, None)
            oldest.close()

    def lost(self, connection: "Connection") -> None:
        """It has ended. If it was idle, that tells how long its provider keeps one."""
        idle = self._idle[connection.origin]
        if connection in idle:
            idle.remove(connection)
            if connection.idle_s >= LEAST_KEPT_S:
                self._used_s[connection.origin] = USED_PART * connection.idle_s

    def close(self) -> None:
        """Keep none of them, and none that is still in use."""
        self._is_closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class Connection(asyncio.Protocol):
    """One connection, and the answer that is read from it."""

    def __init__(self, pool: Pool, origin: Origin):
        self.origin = origin
        self._pool = pool
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future | None = None
        self._idle_since = 0.0
        self._failure = ""
        self._begin()
        self._is_complete = True  # Nothing is asked yet.

    def _begin(self) -> None:
        self.status = 0  # Until the head has come.
        self._head: list[tuple[bytes, bytes]] = []
        self._bodiless_bytes = 0  # Since there was something of the body.
        self._body: list[bytes] = []
        self._waiting_bytes = 0
        self._is_paused = False
        self._is_complete = False
        self._is_lasting = False
        self._is_ended = False

    async def ask(self, request: bytes) -> None:
        """Send `request`. Returns once the head of the answer has come. Raises ConnectionError."""
        self._begin()
        self._transport.write(request)
        while not self.status:
            await self._news()

    def header(self, name: bytes) -> str:
        """What the head says under `name`, in lower case; the last of several, "" of none."""
        said = [value for given, value in self._head if given.lower() == name]
        return said[-1].decode("latin-1").strip() if said else ""

    async def read(self) -> bytes:
        """What has come of the body; nothing at its end. Raises ConnectionError."""
        while not (self._body or self._is_complete):
            await self._news()
        received = b"".join(self._body)
        self._body.clear()
        self._waiting_bytes = 0
        if self._is_paused:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return received

    def end(self) -> None:
        """No more is read: the connection may serve the next request, if all went as it should."""
        if self._is_ended:
            return
        self._is_ended = True
        if self._may_be_kept():
            self._idle_since = time.monotonic()
            self._body.clear()
            self._pool.keep(self)
        else:
            self.close()

    def _may_be_kept(self) -> bool:
        transport = self._transport
        if self._is_paused or transport.is_closing() or transport.get_write_buffer_size():
            return False  # A provider may answer before it has read all that it was asked.
        return self._is_complete and self._is_lasting

    def close(self) -> None:
        self._transport.abort()

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    @property
    def idle_s(self) -> float:
        return time.monotonic() - self._idle_since

    async def _news(self) -> None:
        """Wait until more has come. Raises ConnectionError when nothing more will."""
        if self._failure:
            raise ConnectionError(self._failure)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, why: str) -> None:
        """Not with the exception itself: it knows the frames that know this connection."""
        self._is_lasting = False
        if not self._is_complete:
            self._failure = self._failure or why
        self._wake()

    # --- What the event loop says

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._is_complete or self._parser is None:
            self.close()  # Nobody asked for that.
            return
        before = self._waiting_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"what came is no answer in HTTP: {type(error).__name__}")
        has_body = self._waiting_bytes > before
        self._bodiless_bytes = 0 if has_body else self._bodiless_bytes + len(data)
        if self._bodiless_bytes > MAX_HEAD_BYTES:
            self._fail("the head of the answer has no end")
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._parser = None  # It knows this connection, which would be a cycle.
        if error is None and self.status and self._ends_with_connection():
            self._is_complete = True
        self._fail("the provider hung up before the end of its answer")
        self._pool.lost(self)

    def _ends_with_connection(self) -> bool:
        is_chunked = "chunked" in self.header(b"transfer-encoding").lower()
        return not (is_chunked or self.header(b"content-length"))

    # --- What the parser says

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise ConnectionError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # Or it is a trailer.
            self._head.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if sum(len(name) + len(value) for name, value in self._head) > MAX_HEAD_BYTES:
            raise ConnectionError("the head of the answer is too long")
        if status < 200:  # The answer itself is yet to come.
            self._head.clear()
        else:
            self.status = status

    def on_body(self, part: bytes) -> None:
        self._body.append(part)
        self._waiting_bytes += len(part)
        if self._waiting_bytes > MAX_WAITING_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.status:
            assert self._parser is not None
            self._is_complete = True
            self._is_lasting = self._parser.should_keep_alive()


def request_head(url: str, api_key: str | None) -> tuple[Origin, bytes]:
    """Where `url` leads, and how a request to it begins. Raises ConnectionError."""
    origin, head = _keyless_head(url)
    if not api_key:
        return origin, head
    if not (api_key.isascii() and api_key.isprintable()):
        raise ConnectionError("the provider's key can't stand in a header")
    return origin, head + f"Authorization: Bearer {api_key}\r\n".encode()


@functools.lru_cache(maxsize=1024)
def _keyless_head(url: str) -> tuple[Origin, bytes]:
    """Remembered without a key: one that was taken back isn't kept."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise Unreachable("the provider's address is none") from error
    authority = f"[{host}]" if ":" in host else host
    path = quote(parts.path, safe="/%:@!$&()*+,;=~-._")
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {authority}:{port}" if port else f"Host: {authority}",
        *HEADERS,
    ]
    is_tls = parts.scheme == "https"
    origin = Origin(host, port or (443 if is_tls else 80), is_tls)
    return origin, "".join(f"{line}\r\n" for line in lines).encode()


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
