"""One HTTP exchange with a caller: the request as the gateway's rules see it."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import io
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from accounts.ids import dashed, uuid7
from accounts.vouching import vouch
from gateway.access.authentication import Caller, authenticate
from gateway.access.client_address import client_address
from gateway.commits.record import RequestRecord
from gateway.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from gateway.providers.metering import Ending
from gateway.wire import body as json_body
from gateway.wire import turns
from gateway.wire.pace import Pace, too_slow

FORWARDED_FOR = b"x-forwarded-for"
Admit = Callable[[], Awaitable[object]]

Understood = TypeVar("Understood")


class ClientGone(Exception):
    """The client hung up before its request was complete."""


@dataclasses.dataclass(slots=True)
class Exchange:
    """A request over HTTP. The names of `headers` are in lower case; `receive`, `scope` are ASGI's.

    `raw` is the body once it has been read, and `is_json` says that it was found to be JSON.
    `is_client_gone` returns True once the client has hung up.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    ip: str
    receive: Callable[[], Awaitable[dict]]
    id: str = dataclasses.field(default_factory=lambda: uuid7().hex)
    started: float = dataclasses.field(default_factory=time.monotonic)
    raw: bytes = b""
    is_json: bool = False
    is_client_gone: Callable[[], bool] = lambda: False
    scope: Mapping[str, Any] | None = None

    @property
    def public_id(self) -> str:
        """The request's id in the form that headers and error bodies show."""
        return dashed(self.id)

    @property
    def user_agent(self) -> str:
        return self.headers.get("user-agent", "")

    def new_record(self, caller: Caller, api: str) -> RequestRecord:
        """Return the log record of this request as it begins."""
        return RequestRecord(
            id=self.id,
            account_id=caller.account_id,
            key_id=caller.key_id,
            created_at=dt.datetime.now(dt.UTC),
            api=api,
        )

    @property
    def broken_off_as(self) -> Ending:
        """The ending if the request is cancelled now: by its client, or because Kyma stops."""
        return Ending.CLIENT_GONE if self.is_client_gone() else Ending.KYMA_FAILED

    def elapsed_ms(self) -> float:
        return round((time.monotonic() - self.started) * 1000, 3)

    async def authenticate(self) -> Caller:
        """Return the caller. Raises Unauthenticated, TooManyRequests, Unavailable."""
        caller = await authenticate(self.headers, self.ip)
        vouch(self.scope)
        return caller

    async def read_json(
        self,
        caller: Caller,
        understand: Callable[[dict], Understood],
        *,
        admit_large: Admit | None = None,
    ) -> tuple[dict, Understood]:
        """Read a body that may be large, and what it means. Raises as both readers do.

        `admit_large` is awaited before more than a small body is read.
        """

        def note_json(body: dict) -> Understood:
            self.is_json = True
            return understand(body)

        async with self._turn_of(caller):
            return await json_body.read(await self.read_json_body(admit_large), note_json)

    def _turn_of(self, caller: Caller) -> contextlib.AbstractAsyncContextManager[None]:
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) <= settings.MAX_SMALL_BODY_BYTES:
            return contextlib.nullcontext()
        return turns.turn_of(caller.account_id)

    async def read_json_body(
        self, admit_large: Admit | None = None, *, most_bytes: int | None = None
    ) -> bytes:
        """Read the whole body, of at most MAX_BODY_BYTES unless `most_bytes` are fewer.

        Raises BodyTooLarge, BodyTimeout, UnsupportedMediaType, InvalidRequest, ClientGone, and the
        refusals of `admit_large`.
        """
        most_bytes = most_bytes or settings.MAX_BODY_BYTES
        length = self._check_headers(most_bytes)
        if admit_large is not None and length > settings.MAX_SMALL_BODY_BYTES:
            await admit_large()
            admit_large = None
        self.raw = await self._read(most_bytes, admit_large)
        return self.raw

    def forget_body(self) -> None:
        """Free the memory of the body, which nothing needs any more."""
        self.raw, self.is_json = b"", False

    def _check_headers(self, most_bytes: int) -> int:
        """Return the length of the body in bytes, or 0 if it isn't announced."""
        media_type = self.headers.get("content-type", "application/json").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise UnsupportedMediaType("Send the body as JSON: 'Content-Type: application/json'.")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("Send the body without compression.")
        length = self.headers.get("content-length", "0")
        if not length.isdecimal():
            raise InvalidRequest("The header Content-Length is not a number.")
        if int(length) > most_bytes:
            raise _too_large(most_bytes)
        return int(length)

    async def _read(self, most_bytes: int, admit_large: Admit | None) -> bytes:
        received = bytearray()
        loop = asyncio.get_running_loop()
        pace = Pace(loop.time())
        try:
            async with asyncio.timeout_at(pace.due_at) as deadline:
                while True:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    part = message.get("body", b"")
                    received += part
                    if admit_large is not None and len(received) > settings.MAX_SMALL_BODY_BYTES:
                        await admit_large()
                        admit_large = None
                    if len(received) > most_bytes:
                        raise _too_large(most_bytes)
                    if not message.get("more_body"):
                        return bytes(received)
                    deadline.reschedule(pace.came(len(part), loop.time()))
        except TimeoutError as error:
            raise too_slow() from error


def _too_large(most_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {most_bytes} bytes, the most that Kyma takes.")


class GatewayRequest(ASGIRequest):
    """Django's request, with the exchange that the gateway's rules work on."""

    def __init__(
        self,
        scope: dict,
        receive: Callable[[], Awaitable[dict]],
        is_client_gone: Callable[[], bool],
    ):
        super().__init__(scope, io.BytesIO())  # The exchange reads the body.
        query = self.META["QUERY_STRING"]
        self.exchange = Exchange(
            headers={k.decode("latin1"): value.decode("latin1") for k, value in scope["headers"]},
            query=dict(parse_qsl(query)) if query else {},
            ip=client_address(
                self.META.get("REMOTE_ADDR", ""),
                [value.decode("latin1") for k, value in scope["headers"] if k == FORWARDED_FOR],
                settings.TRUSTED_PROXY_COUNT,
            ),
            receive=receive,
            is_client_gone=is_client_gone,
            scope=scope,
        )
