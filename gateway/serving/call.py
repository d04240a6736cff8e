"""One HTTP call to the gateway, as its rules see it."""

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from accounts.ids import dashed, uuid7
from gateway.access.authentication import Caller
from gateway.commits.record import RequestRecord
from gateway.errors import BodyTimeout, BodyTooLarge, InvalidRequest, UnsupportedMediaType
from gateway.providers.metering import Ending


class ClientGone(Exception):
    """The client hung up before its request was complete."""


@dataclasses.dataclass(slots=True)
class Call:
    """Headers in lower case; `receive` is ASGI's.

    `raw` is the body once it was read, and `is_json` says that it was found to be JSON.
    `is_client_gone` tells whether it has hung up.
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
        """The request's id as it stands in headers and error bodies."""
        return dashed(self.id)

    @property
    def user_agent(self) -> str:
        return self.headers.get("user-agent", "")

    def record(self, caller: Caller, api: str) -> RequestRecord:
        """The beginnings of this request's row in the log."""
        return RequestRecord(
            id=self.id,
            account_id=caller.account_id,
            key_id=caller.key_id,
            created_at=dt.datetime.now(dt.UTC),
            api=api,
        )

    @property
    def broken_off_as(self) -> Ending:
        """How it ends if it is cancelled now: for want of its client, or of this process."""
        return Ending.CLIENT_GONE if self.is_client_gone() else Ending.KYMA_FAILED

    def elapsed_ms(self) -> float:
        return round((time.monotonic() - self.started) * 1000, 3)

    async def read_json_body(self) -> bytes:
        """The whole body. Raises BodyTooLarge, BodyTimeout, UnsupportedMediaType, ClientGone."""
        self._check_headers()
        try:
            async with asyncio.timeout(settings.BODY_TIMEOUT_S):
                self.raw = await self._read()
        except TimeoutError as error:
            raise BodyTimeout("The body of the request didn't arrive in time.") from error
        return self.raw

    def _check_headers(self) -> None:
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

    async def _read(self) -> bytes:
        received = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            received += message.get("body", b"")
            if len(received) > settings.MAX_BODY_BYTES:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(received)

    @staticmethod
    def _too_large() -> BodyTooLarge:
        limit = settings.MAX_BODY_BYTES
        return BodyTooLarge(f"The body is larger than {limit} bytes, the most that Kyma takes.")


class GatewayRequest(ASGIRequest):
    """Django's request, with the call that it is."""

    call: Call
