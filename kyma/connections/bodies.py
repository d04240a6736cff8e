"""Bounds the bodies of requests to pages and to /api/. The gateway reads its own.

A body of more than MAX_SMALL_BODY_BYTES is read only where honest ones are larger, and only if its
caller is known: chats take pictures, and the import takes files. Django keeps all in memory
(`FILE_UPLOAD_MAX_MEMORY_SIZE`).
"""

import asyncio
import io

from django.conf import settings
from django.contrib.auth import get_user
from django.core.handlers.asgi import ASGIRequest
from rest_framework.exceptions import AuthenticationFailed

from accounts.sessions import SessionStore
from gateway.database import in_thread
from gateway.errors import BodyTooLarge, Forbidden, GatewayError, Unauthenticated
from gateway.serving.exchange import ClientGone
from gateway.wire.pace import Pace, too_slow
from kyma.api import problems
from kyma.api.authentication import KeyAuthentication
from kyma.connections.refusals import Refusal

IMPORT = "/chat/import"
WITH_PICTURES = ("/chat/", "/api/conversations/")


async def apply(application, scope, receive, send) -> None:
    """Serve a request by `application`, or refuse a body that is too large or too slow.

    The application begins when the body is whole: a slow one keeps no thread and no place in a
    queue.
    """
    try:
        body = await _read(receive, await _most_bytes(scope))
    except GatewayError as error:
        await Refusal.of(error, scope["path"]).send(send)
        return
    except ClientGone:
        return
    await application(scope, _Received(body, receive).receive, send)


async def _read(receive, most_bytes: int) -> bytes:
    """Return the whole body. Raises BodyTooLarge, BodyTimeout, ClientGone."""
    received = bytearray()
    loop = asyncio.get_running_loop()
    pace = Pace(loop.time())
    try:
        async with asyncio.timeout_at(pace.due_at) as deadline:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                received += part
                if len(received) > most_bytes:
                    raise _too_large(most_bytes)
                if not message.get("more_body"):
                    return bytes(received)
                deadline.reschedule(pace.came(len(part), loop.time()))
    except TimeoutError as error:
        raise too_slow() from error


async def _most_bytes(scope: dict) -> int:
    """Return how many bytes to read at most. Raises GatewayError if more are announced."""
    announced, most = _announced_bytes(scope), _most_bytes_at(scope["path"])
    if announced is not None and announced > most:
        raise _too_large(most)
    is_small = announced is not None and announced <= settings.MAX_SMALL_BODY_BYTES
    if is_small or most == settings.MAX_SMALL_BODY_BYTES:
        return most
    if await in_thread(_has_known_caller, scope):
        return most
    if announced is None:
        return settings.MAX_SMALL_BODY_BYTES
    if problems.is_for_programs(scope["path"]):
        raise Unauthenticated("Send a key in the header 'Authorization: Bearer kyma-…'.")
    raise Forbidden("You are signed out: sign in, then send this again.", code="signed_out")


def _announced_bytes(scope: dict) -> int | None:
    """Return the announced length, or None for a body whose bytes are counted as they come."""
    headers = dict(scope.get("headers", ()))
    if b"transfer-encoding" in headers:
        return None
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else None


def _most_bytes_at(path: str) -> int:
    if path == IMPORT:
        return settings.MAX_IMPORT_BODY_BYTES
    if path.startswith(WITH_PICTURES):
        return settings.MAX_BODY_BYTES
    return settings.MAX_SMALL_BODY_BYTES


def _has_known_caller(scope: dict) -> bool:
    """Return True for a signed-in session and, at /api/, for a valid key."""
    request = ASGIRequest(scope, io.BytesIO())
    if problems.is_for_programs(scope["path"]):
        try:
            if KeyAuthentication().authenticate(request):
                return True
        except AuthenticationFailed:
            return False
    request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    return get_user(request).is_authenticated


class _Received:
    """Hands on a body that has come. The server says what follows, such as the hang-up."""

    def __init__(self, body: bytes, receive):
        self._body: bytes | None = body
        self._receive = receive

    async def receive(self) -> dict:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _too_large(most_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body has more than {most_bytes:,} bytes, the most that is read here.")
