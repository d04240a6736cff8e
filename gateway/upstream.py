"""The only module that talks to providers on the request path.

Nothing of the client's request goes along but the body that was built for the provider:
no header, no address, no id. All four timeouts are kept here or in the relay.
"""

import asyncio
import time

import aiohttp
import orjson
from django.conf import settings

from gateway.alarm import Alarm
from gateway.routing import Candidate
from gateway.sse import EventParser, EventTooLarge
from gateway.upstream_errors import (
    Broken,
    Garbled,
    Refused,
    Silent,
    UpstreamFailed,
    from_status,
)

MAX_ANSWER_BYTES = 50_000_000
MAX_ERROR_BYTES = 64_000
MAX_DEPTH = 200  # orjson reads what is nested more deeply than it can write.

_session: aiohttp.ClientSession | None = None


def _open_session() -> aiohttp.ClientSession:
    global _session
    if _session is None or _session.closed:
        _session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.UPSTREAM_CONNECT_TIMEOUT_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "Kyma", "Accept-Encoding": "identity"},
            read_bufsize=2**18,
        )
    return _session


async def close() -> None:
    global _session
    if _session is not None:
        await _session.close()
        _session = None


async def fetch(route: Candidate, path: str, body: bytes, deadline: float) -> dict:
    """The provider's whole answer, by `deadline` (monotonic). Raises UpstreamFailed."""
    try:
        async with asyncio.timeout(_time_left(settings.UPSTREAM_ANSWER_TIMEOUT_S, deadline)):
            response = await _post(route, path, body)
            async with response:
                answer = await _json(response, MAX_ANSWER_BYTES)
    except _FAULTS as error:
        raise _meaning(error) from error
    if not isinstance(answer, dict):
        raise Garbled(status=response.status)
    if answer.get("error"):
        raise error_inside(answer)
    return answer


class EventStream:
    """The events of one streamed answer, as they come."""

    def __init__(self, response: aiohttp.ClientResponse):
        self._response = response
        self._parser = EventParser()
        self._alarm = Alarm()
        self._ended = False

    async def read(self, timeout_s: float) -> list[bytes] | None:
        """The events that the next bytes complete; None at the end of the body.

        Raises TimeoutError, after which it may be called again; Broken, Garbled.
        """
        if self._ended:
            return None
        self._alarm.set(timeout_s)
        try:
            received = await self._response.content.readany()
        except asyncio.CancelledError:
            if self._alarm.was_it():
                raise TimeoutError from None
            raise
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Broken(status=200) from error
        finally:
            self._alarm.stop()
        try:
            if received:
                return self._parser.feed(received)
            self._ended = True
            return self._parser.finish()
        except EventTooLarge as error:
            raise Garbled(status=200) from error

    def close(self) -> None:
        """End it: the connection is closed, unless the body was read to its end."""
        self._alarm.close()
        self._response.close()


async def open_stream(route: Candidate, path: str, body: bytes, deadline: float) -> EventStream:
    """The stream, once the provider has begun to answer with one. Raises UpstreamFailed."""
    try:
        async with asyncio.timeout(_time_left(settings.UPSTREAM_FIRST_BYTE_TIMEOUT_S, deadline)):
            response = await _post(route, path, body)
            try:
                await _require_events(response)
            except BaseException:
                response.close()
                raise
    except _FAULTS as error:
        raise _meaning(error) from error
    return EventStream(response)


async def _require_events(response: aiohttp.ClientResponse) -> None:
    if "event-stream" in response.content_type:
        return
    answer = await _json(response, MAX_ERROR_BYTES)
    if isinstance(answer, dict) and answer.get("error"):
        raise error_inside(answer)
    raise Garbled(status=200)


def error_inside(answer: dict) -> UpstreamFailed:
    """The failure that an error object inside a 200 answer means."""
    error = answer["error"]
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code <= 599 else 502
    return from_status(status, answer, None)


async def _post(route: Candidate, path: str, body: bytes) -> aiohttp.ClientResponse:
    headers = {"Content-Type": "application/json"}
    if route.api_key:
        headers["Authorization"] = f"Bearer {route.api_key}"
    response = await _open_session().post(
        route.base_url + path, data=body, headers=headers, allow_redirects=False
    )
    if response.status == 200:
        return response
    async with response:
        try:
            said = await _json(response, MAX_ERROR_BYTES)
        except UpstreamFailed:
            said = None
    raise from_status(response.status, said, response.headers.get("Retry-After"))


async def _json(response: aiohttp.ClientResponse, limit: int) -> object:
    received = bytearray()
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) > limit:
            raise Garbled(status=response.status)
    return parse(received, response.status)


def parse(received: bytes | bytearray, status: int = 200) -> object:
    """JSON that can be written again. Raises Garbled."""
    try:
        said = orjson.loads(received)
        if received.count(b"[") + received.count(b"{") > MAX_DEPTH:
            orjson.dumps(said)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise Garbled(status=status) from error
    return said


def _time_left(most_s: float, deadline: float) -> float:
    return min(most_s, deadline - time.monotonic())


_FAULTS = (aiohttp.ClientError, ConnectionError, TimeoutError)


def _meaning(error: Exception) -> UpstreamFailed:
    """One of _FAULTS as the failure that it is."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Refused()
    return Silent() if isinstance(error, TimeoutError) else Broken()
