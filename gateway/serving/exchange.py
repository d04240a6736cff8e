"""One HTTP exchange with a caller: the request as the gateway's rules see it."""

import asyncio
import dataclasses
import datetime as dt
import io
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from accounts.ids import dashed, uuid7
from gateway.access.authentication import Caller
from gateway.access.client_address import client_address
from gateway.commits.record import RequestRecord
from gateway.errors import BodyTimeout, BodyTooLarge, InvalidRequest, UnsupportedMediaType
from gateway.providers.metering import Ending

FORWARDED_FOR = b"x-forwarded-for"
LARGE_BODY_BYTES = 64_000  # A body beyond is read only once the rate limits have admitted it.

Admit = Callable[[], Awaitable[object]]


class ClientGone(Exception):
    """The client hung up before its request was complete."""


@dataclasses.dataclass(slots=True)
class Exchange:
    """A request over HTTP. The names of `headers` are in lower case; `receive` is ASGI's.

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

    async def read_json_body(self, admit_large: Admit | None = None) -> bytes:
        """Read the whole body. Await `admit_large` before more than LARGE_BODY_BYTES are read.

        Raises BodyTooLarge, BodyTimeout, UnsupportedMediaType, InvalidRequest, ClientGone, and the
        refusals of `admit_large`.
        """
        length = self._check_headers()
        if admit_large is not None and length > LARGE_BODY_BYTES:
            await admit_large()
            admit_large = None
        try:
            async with asyncio.timeout(settings.BODY_TIMEOUT_S):
                self.raw = await self._read(admit_large)
        except TimeoutError as error:
            raise BodyTimeout("The body of the request didn't arrive in time.") from error
        return self.raw

    def forget_body(self) -> None:
        """Free the memory of the body, which nothing needs any more."""
        self.raw, self.is_json = b"", False

    def _check_headers(self) -> int:
        """Return the length of the body in bytes, or 0 if it isn't announced."""
        media_type = self.headers.get("content-type", "application/json").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise UnsupportedMediaType("Send the body as JSON: 'Content-Type: application/json'.")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("Send the body without compression.")
        length = self.headers.get("content-length", "0")
        if not length.isdecimal():
            raise InvalidRequest("The header Content-Length is not a number.")
        if int(length) > settings.MAX_BODY_BYTES:
            raise self._too_large()
        return int(length)

    async def _read(self, admit_large: Admit | None) -> bytes:
        received = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            received += message.get("body", b"")
            if admit_large is not None and len(received) > LARGE_BODY_BYTES:
                await admit_large()
                admit_large = None
            if len(received) > settings.MAX_BODY_BYTES:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(received)

    @staticmethod
    def _too_large() -> BodyTooLarge:
        limit = settings.MAX_BODY_BYTES
        return BodyTooLarge(f"The body is larger than {limit} bytes, the most that Kyma takes.")


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
        )
