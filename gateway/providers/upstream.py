"""The only module that talks to providers on the request path.

A provider gets only the body that was built for it, and no header, address or id of the client's
request. All four timeouts are enforced here, in `connection` or in `gateway/serving/forwarding.py`.
"""

import asyncio
import re
import time

import orjson
from django.conf import settings

from gateway.catalogue.entries import Candidate
from gateway.failures import (
    Broken,
    Garbled,
    Refused,
    Silent,
    UpstreamFailed,
    from_status,
    status_inside,
    wait_told,
)
from gateway.providers.alarm import Alarm
from gateway.providers.connection import Connection, Pool, Unreachable
from gateway.wire.sse import EventParser, EventTooLarge

STREAM_END = b"[DONE]"

MAX_ANSWER_BYTES = 50_000_000
MAX_ERROR_BYTES = 64_000
MAX_DEPTH = 200  # orjson can read JSON that is nested too deeply for it to write.

# An escaped backslash, a surrogate pair, or half a pair. Some providers cut a stream in the middle
# of an emoji, and half a pair isn't valid JSON.
_SURROGATES = re.compile(
    rb"""
      \\\\
    | \\u[dD][89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2}
    | (?P<half> \\u[dD][89a-fA-F][0-9a-fA-F]{2} )
    """,
    re.VERBOSE,
)

_pool: Pool | None = None


def _connections() -> Pool:
    global _pool
    if _pool is None:
        _pool = Pool()
    return _pool


async def close() -> None:
    """Close all connections. The next request makes a new pool."""
    global _pool
    if _pool is not None:
        _pool.close()
        _pool = None
        await asyncio.sleep(0)  # Let the loop notify the connections and release them.


async def fetch(route: Candidate, path: str, body: bytes, deadline: float) -> dict:
    """Return the provider's whole answer, by `deadline` (monotonic). Raises UpstreamFailed."""
    try:
        async with asyncio.timeout(_time_left(settings.UPSTREAM_ANSWER_TIMEOUT_S, deadline)):
            connection = await _post(route, path, body)
            try:
                answer = await _json(connection, MAX_ANSWER_BYTES)
            finally:
                connection.end()
    except _FAULTS as error:
        raise _meaning(error) from error
    if not isinstance(answer, dict):
        raise Garbled(status=200)
    refuse_error(answer)
    return answer


class EventStream:
    """The events of one streamed answer, in the order in which they come."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._parser = EventParser()
        self._alarm = Alarm()
        self._ended = False
        self._is_closed = False

    async def read(self, timeout_s: float) -> list[bytes] | None:
        """Return the events that the next bytes complete, or None at the end of the body.

        Raises Broken, Garbled, or TimeoutError; after a TimeoutError it may be called again.
        """
        if self._ended:
            return None
        self._alarm.set(timeout_s)
        try:
            received = await self._connection.read()
        except asyncio.CancelledError:
            if self._alarm.was_it():
                raise TimeoutError from None
            raise
        except ConnectionError as error:
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
        """End the stream. Only the first call does so: the connection may be another request's."""
        if not self._is_closed:
            self._is_closed = True
            self._alarm.close()
            self._connection.end()


async def open_stream(route: Candidate, path: str, body: bytes, deadline: float) -> EventStream:
    """Return the stream once the provider has begun to send it. Raises UpstreamFailed."""
    try:
        async with asyncio.timeout(_time_left(settings.UPSTREAM_FIRST_BYTE_TIMEOUT_S, deadline)):
            connection = await _post(route, path, body)
            try:
                await _require_events(connection)
            except BaseException:
                connection.end()
                raise
    except _FAULTS as error:
        raise _meaning(error) from error
    return EventStream(connection)


async def _require_events(connection: Connection) -> None:
    if "event-stream" in connection.header(b"content-type").partition(";")[0].lower():
        return
    answer = await _json(connection, MAX_ERROR_BYTES)
    if isinstance(answer, dict):
        refuse_error(answer)
    raise Garbled(status=200)


def refuse_error(answer: dict) -> None:
    """Raise if a 200 response carries an `error`, or is itself an error object (vLLM)."""
    if answer.get("error") or answer.get("object") == "error":
        error = answer.get("error") or answer
        raise from_status(status_inside(error), {"error": error})


async def _post(route: Candidate, path: str, body: bytes) -> Connection:
    connection = await _connections().post(
        route.base_url + path, route.api_key, body, is_self_hosted=route.is_self_hosted
    )
    if connection.status == 200:
        return connection
    status, wait_s = connection.status, wait_told(connection.header)
    try:
        said = await _json(connection, MAX_ERROR_BYTES)
    except UpstreamFailed:
        said = None
    finally:
        connection.end()
    raise from_status(status, said, wait_s)


async def _json(connection: Connection, limit: int) -> object:
    received = bytearray()
    while part := await connection.read():
        received += part
        if len(received) > limit:
            raise Garbled(status=connection.status)
    return parse(received, connection.status)


def parse(received: bytes | bytearray, status: int = 200) -> object:
    """Parse JSON and check that it can be written again. Raises Garbled."""
    try:
        said = _loads(received)
        if len(received) > MAX_DEPTH and received.count(b"[") + received.count(b"{") > MAX_DEPTH:
            orjson.dumps(said)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise Garbled(status=status) from error
    return said


def _loads(received: bytes | bytearray) -> object:
    try:
        return orjson.loads(received)
    except orjson.JSONDecodeError:
        if b"\\u" not in received:
            raise
    return orjson.loads(_SURROGATES.sub(_whole_character, received))


def _whole_character(found: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if found["half"] else found[0]


def _time_left(most_s: float, deadline: float) -> float:
    return min(most_s, deadline - time.monotonic())


_FAULTS = (ConnectionError, TimeoutError)


def _meaning(error: Exception) -> UpstreamFailed:
    """Convert one of _FAULTS to the UpstreamFailed that it means."""
    if isinstance(error, Unreachable):
        return Refused()
    return Silent() if isinstance(error, TimeoutError) else Broken()


def read_chunk(payload: bytes) -> dict:
    """One event of the provider. Raises Garbled, or the failure that an error event means."""
    chunk = parse(payload)
    if not isinstance(chunk, dict):
        raise Garbled(status=200)
    refuse_error(chunk)
    return chunk
