"""The HTTP/1.1 client for providers. It supports only what Kyma needs: a POST and its answer.

Each connection carries one request at a time and is kept for the next one. The parser is that of
httptools, as in the web server. docs/decisions.md says why this is not a library's client.
"""

import asyncio
import functools
import logging
import socket
import ssl
import time
from collections import defaultdict, deque
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import aiohappyeyeballs
import httptools
from django.conf import settings

from gateway.models.addresses import may_ask

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64_000  # Also limits other bytes outside the body, such as trailers.
MAX_WAITING_BYTES = 2**18  # Stop reading from the provider while so many bytes are unread.
# Most providers close a connection that is idle for a minute or more, but vLLM does so after 5 s,
# and a request that is sent at that moment fails. So when a provider was seen to hang up sooner
# than KEPT_S, connections are reused only within USED_PART of the time that it kept one.
KEPT_S = 15
USED_PART = 0.8
LEAST_KEPT_S = 1  # A provider that hangs up sooner has probably restarted: ignore that.
NEXT_ADDRESS_AFTER_S = 0.25  # RFC 8305: try a host's next address when one is this slow.
HEADERS = (
    "User-Agent: Kyma",
    "Accept: */*",
    "Accept-Encoding: identity",
    "Content-Type: application/json",
)


class Unreachable(ConnectionError):
    """The provider can't be connected to."""


class Origin(NamedTuple):
    host: str
    port: int
    is_tls: bool
    is_self_hosted: bool


class Pool:
    """The idle connections of this process. A pool belongs to one event loop."""

    def __init__(self) -> None:
        self._idle: defaultdict[Origin, deque[Connection]] = defaultdict(deque)
        self._used_s: dict[Origin, float] = {}  # Only for origins whose time is below KEPT_S.
        self._is_closed = False

    async def post(
        self, url: str, api_key: str | None, body: bytes, *, is_self_hosted: bool = False
    ) -> "Connection":
        """Send a POST and return its connection once the answer begins. Raises ConnectionError.

        The caller must end the connection and not touch it afterwards: the next request may be
        using it by then.
        """
        origin, head = request_head(url, api_key, is_self_hosted=is_self_hosted)
        connection = self._kept(origin) or await self._connect(origin)
        try:
            await connection.ask(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        except BaseException:
            connection.end()
            raise
        return connection

    def _kept(self, origin: Origin) -> "Connection | None":
        """Return the connection used last, so that the others become idle enough to be closed."""
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
                found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
                addresses = _permitted(found, origin)
                connected = await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S, interleave=1
                )
                _, connection = await loop.create_connection(
                    lambda: Connection(self, origin),
                    sock=connected,
                    ssl=_tls() if origin.is_tls else None,
                    server_hostname=origin.host if origin.is_tls else None,
                )
        except OSError as error:  # This includes TimeoutError and failed TLS verification.
            raise Unreachable(f"no connection to {origin.host}") from error
        return connection

    def keep(self, connection: "Connection") -> None:
        """Keep a connection for the next request to the same origin."""
        if self._is_closed:
            connection.close()
            return
        idle = self._idle[connection.origin]
        idle.append(connection)
        while idle[0].idle_s >= KEPT_S:
            oldest = idle.popleft()
            if not oldest.is_closing:  # It was kept open that long: lift the shorter limit.
                self._used_s.pop(connection.origin, None)
            oldest.close()

    def lost(self, connection: "Connection") -> None:
        """Drop an ended connection. If it was idle, learn how long its provider keeps one."""
        idle = self._idle[connection.origin]
        if connection in idle:
            idle.remove(connection)
            if connection.idle_s >= LEAST_KEPT_S:
                self._used_s[connection.origin] = USED_PART * connection.idle_s

    def close(self) -> None:
        """Close the idle connections. Those still in use will be closed when they end."""
        self._is_closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class Connection(asyncio.Protocol):
    """One connection and the answer that is being read from it."""

    def __init__(self, pool: Pool, origin: Origin):
        self.origin = origin
        self._pool = pool
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future | None = None
        self._idle_since = 0.0
        self._failure = ""
        self._begin()
        self._is_complete = True  # No request has been sent yet.

    def _begin(self) -> None:
        self.status = 0  # It stays 0 until the head has come.
        self._head: list[tuple[bytes, bytes]] = []
        self._bodiless_bytes = 0  # Bytes received since the last bytes of the body.
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
        """Return the value of a header, given its name in lower case.

        Of several values the last one counts. Without a value, return "".
        """
        said = [value for given, value in self._head if given.lower() == name]
        return said[-1].decode("latin-1").strip() if said else ""

    async def read(self) -> bytes:
        """Wait for bytes of the body. Return b"" at its end. Raises ConnectionError."""
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
        """Stop reading. The connection is kept for the next request if all went well."""
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
            return False  # A provider may answer before it has read the whole request.
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
        """Wait until more has come. Raises ConnectionError if nothing more can come."""
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
        """Note a failure as text: keeping the exception and its frames would make a cycle."""
        self._is_lasting = False
        if not self._is_complete:
            self._failure = self._failure or why
        self._wake()

    # --- Callbacks of the event loop

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._is_complete or self._parser is None:
            self.close()  # No request asked for these bytes.
            return
        before = self._waiting_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the answer isn't valid HTTP: {type(error).__name__}")
        has_body = self._waiting_bytes > before
        self._bodiless_bytes = 0 if has_body else self._bodiless_bytes + len(data)
        if self._bodiless_bytes > MAX_HEAD_BYTES:
            self._fail("the head of the answer has no end")
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._parser = None  # The parser refers to this connection: break the cycle.
        if error is None and self.status and self._ends_with_connection():
            self._is_complete = True
        self._fail("the provider hung up before the end of its answer")
        self._pool.lost(self)

    def _ends_with_connection(self) -> bool:
        is_chunked = "chunked" in self.header(b"transfer-encoding").lower()
        return not (is_chunked or self.header(b"content-length"))

    # --- Callbacks of the parser

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise ConnectionError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # A header after the status is a trailer: ignore it.
            self._head.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if sum(len(name) + len(value) for name, value in self._head) > MAX_HEAD_BYTES:
            raise ConnectionError("the head of the answer is too long")
        if status < 200:  # An interim answer: the real one is yet to come.
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


def _permitted(found: list, origin: Origin) -> list:
    """Return the addresses at which such a provider may stand. Raises Unreachable without any.

    The name may lead elsewhere than when the provider was saved, so each connection checks it.
    """
    how = {"is_tls": origin.is_tls, "is_self_hosted": origin.is_self_hosted}
    permitted = [one for one in found if may_ask(one[4][0], **how)]
    if not permitted:
        logger.warning("no provider may stand at the address of %s", origin.host)
        raise Unreachable(f"no provider may stand at the address of {origin.host}")
    return permitted


def request_head(
    url: str, api_key: str | None, *, is_self_hosted: bool = False
) -> tuple[Origin, bytes]:
    """Return the origin of `url` and the head of a request to it. Raises ConnectionError."""
    origin, head = _keyless_head(url, is_self_hosted)
    if not api_key:
        return origin, head
    if not (api_key.isascii() and api_key.isprintable()):
        raise ConnectionError("the provider's key has characters that no header may have")
    return origin, head + f"Authorization: Bearer {api_key}\r\n".encode()


@functools.lru_cache(maxsize=1024)
def _keyless_head(url: str, is_self_hosted: bool) -> tuple[Origin, bytes]:
    """Return origin and head without the key: the cache must not keep a key that was withdrawn."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise Unreachable("the provider's address isn't a valid URL") from error
    authority = f"[{host}]" if ":" in host else host
    path = quote(parts.path, safe="/%:@!$&()*+,;=~-._")
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {authority}:{port}" if port else f"Host: {authority}",
        *HEADERS,
    ]
    is_tls = parts.scheme == "https"
    origin = Origin(host, port or (443 if is_tls else 80), is_tls, is_self_hosted)
    return origin, "".join(f"{line}\r\n" for line in lines).encode()


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
