"""One connection, and its bounds before a request is complete.

    head      complete within HEAD_TIMEOUT_S of the connection's first moment, or of its own first
              byte; at most MAX_HEAD_BYTES in MAX_HEADERS headers, with a URL of MAX_URL_BYTES
    idle      KEEP_ALIVE_S between two requests
    body      no faster deadline than its reader's (gateway/wire/pace.py); of chunked framing no
              more than a quarter of the content
    answered  the rest of a body whose answer is complete has HEAD_TIMEOUT_S

Bytes are counted as they come, because the parser keeps what isn't complete. Deadlines are read
about once a second for all connections, so that a request needs no timer.
"""

import asyncio
import enum
import logging
from collections.abc import Iterable

import httptools
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from accounts.vouching import VOUCH
from gateway.access import client_address
from gateway.errors import GatewayError, HeadersTooLarge, HeadTimeout, InvalidRequest, UrlTooLong
from gateway.v1.handler import IS_CLOSING, KEEP_HEAD
from kyma.connections import strangers
from kyma.connections.refusals import Refusal

logger = logging.getLogger(__name__)

NEVER = float("inf")
MOST_PIPELINED = 16  # requests that wait for the answers to those before them
CONTENT_PER_FRAMING = 4  # bytes of content for each byte of framing; most chunks have hundreds
FIELD_FRAMING = 4  # bytes: colon, space, end of the line


class Reading(enum.Enum):
    """The part of a request that comes next."""

    FIRST_BYTE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()


class Connection(HttpToolsProtocol):
    """Passes on the next bytes only when the kernel has taken all earlier ones.

    So what a client is charged for has left this process, and a slow reader costs no memory.
    """

    _reading = Reading.FIRST_BYTE
    _field_bytes = 0  # of names and values of the request's headers
    _content_bytes = 0
    _framing_bytes = 0  # received for this request, without its content
    _refusal: GatewayError | None = None
    _client: str | None = None  # as which it is counted, while its caller isn't known

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=0)
        super().connection_made(_HeadKeeper(transport))
        # The moment by which a request must be complete; NEVER while one is being served.
        self._due_at = self.loop.time() + settings.HEAD_TIMEOUT_S
        self._count_as_stranger()

    def connection_lost(self, exc: Exception | None) -> None:
        self.vouch()
        super().connection_lost(exc)
        self.scope = None  # It refers to this connection.

    # --- Strangers

    def _count_as_stranger(self) -> None:
        if self.client is None or strangers.are_behind_proxies():
            return
        client = client_address.client_of(self.client[0])
        if strangers.connections.add(client, self):
            self._client = client
        else:
            self.transport.abort()

    def vouch(self) -> None:
        """Count this connection no longer: its caller is known, or it has ended."""
        if self._client is not None:
            strangers.connections.remove(self._client, self)
            self._client = None

    @property
    def is_waiting(self) -> bool:
        """Return True while no complete request is being served."""
        return self._due_at != NEVER or self._reading is Reading.BODY

    def end(self) -> None:
        self._client = None
        self.transport.close()

    # --- Deadlines

    def end_if_due(self, now: float) -> None:
        if now < self._due_at or self.transport.is_closing():
            return
        if self._reading is Reading.HEAD:
            seconds = settings.HEAD_TIMEOUT_S
            self._refuse(HeadTimeout(f"The request's headers took longer than {seconds:g} s."))
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # Otherwise the next pipelined request has begun.
            self._wait(settings.KEEP_ALIVE_S)

    def _wait(self, idle_s: float) -> None:
        """Wait for the next request, or for the rest of one that has begun or is answered."""
        is_idle = self._reading is Reading.FIRST_BYTE
        self._due_at = self.loop.time() + (idle_s if is_idle else settings.HEAD_TIMEOUT_S)

    # --- Bytes

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        if self._due_at != NEVER:
            self._due_at = min(self._due_at, self.loop.time() + settings.HEAD_TIMEOUT_S)
        self._framing_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # There are no web sockets: the request is answered like any other.
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidRequest("This is no valid HTTP request."))
        else:
            if self._framing_bytes > (
                settings.MAX_HEAD_BYTES + self._content_bytes // CONTENT_PER_FRAMING
            ):
                self._refuse(_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = Reading.HEAD
        self._field_bytes = self._content_bytes = self._framing_bytes = 0
        self.scope[IS_CLOSING] = self.transport.is_closing
        self.scope[KEEP_HEAD] = self.transport.keep_head
        if self._client is not None:
            self.scope[VOUCH] = self.vouch

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > settings.MAX_URL_BYTES:
            most = settings.MAX_URL_BYTES
            self._stop(
                UrlTooLong(f"The URL has more than {most:,} bytes, the most that Kyma takes.")
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is Reading.BODY:
            return  # A trailer must not become a header.
        self._field_bytes += len(name) + len(value) + FIELD_FRAMING
        if self._field_bytes > settings.MAX_HEAD_BYTES or len(self.headers) >= settings.MAX_HEADERS:
            self._stop(_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            self._stop(InvalidRequest("Too many requests wait on one connection."))
        self._reading = Reading.BODY
        self._framing_bytes = 0
        self._due_at = NEVER
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        self._content_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._reading = Reading.FIRST_BYTE
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait(settings.KEEP_ALIVE_S)

    # --- Refusals

    def _stop(self, error: GatewayError) -> None:
        """Stop the parser. `data_received` then refuses the request."""
        self._refusal = error
        raise error

    def _refuse(self, error: GatewayError) -> None:
        """Answer with `error` and end the connection, but never inside another answer."""
        self._refusal = error
        is_served = self.cycle is not None and not self.cycle.response_complete
        if is_served and self._reading is Reading.HEAD:
            self.shutdown()  # after the answers to the requests before this one
            return
        if is_served and (self.pipeline or self.cycle.response_started):
            self.transport.close()
            return
        if is_served:  # The view gets no more of this request, as if the client had hung up.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        path = getattr(self, "url", b"").partition(b"?")[0].decode("latin1")
        refusal = Refusal.of(error, path)
        lines = [b"%b: %b\r\n" % header for header in refusal.headers]
        self.transport.write(b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", refusal.body]))
        self.transport.close()


def end_overdue(connections: Iterable[HttpToolsProtocol], now: float) -> None:
    """End each connection whose client has let a deadline pass; `now` is the loop's time."""
    for one in list(connections):
        assert isinstance(one, Connection)
        try:
            one.end_if_due(now)
        except Exception as error:  # The outermost edge: one connection must not end the process.
            logger.error("a connection could not be ended: %s", type(error).__name__)
            one.transport.abort()


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(
        f"The headers are too large: send at most {settings.MAX_HEADERS} of them, with "
        f"{settings.MAX_HEAD_BYTES:,} bytes in all."
    )


class _HeadKeeper:
    """A transport that can hold back the next bytes until more follow, to send one packet."""

    def __init__(self, transport):
        self._transport = transport
        self._keeps_next = False
        self._kept = b""

    def keep_head(self) -> None:
        self._keeps_next = True

    def write(self, data: bytes) -> None:
        if self._keeps_next:
            self._keeps_next, self._kept = False, data
        else:
            self._transport.write(self._kept + data)
            self._kept = b""

    def __getattr__(self, name: str):
        return getattr(self._transport, name)
