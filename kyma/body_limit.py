"""Limits the size of requests to the pages and to /api/. The gateway has limits of its own.

Without this, Django would write a body of any size to disk before it knows the caller.
"""

import json

from kyma.api import problems

MOST_BYTES = 25_000_000  # The largest is a chat import of 20 MB.


async def apply(application, scope, receive, send) -> None:
    """Serve a request by `application`, or answer 413 for a body that is too large."""
    body = _Body(receive)
    answer = _Answer(send)
    if _announced_bytes(scope) <= MOST_BYTES:
        await application(scope, body.receive, answer.send)
        if answer.has_begun or not body.is_too_large:
            return
    await _refuse(scope, send)


class _Body:
    """A body that ends early if it is too large, as if the client had hung up."""

    def __init__(self, receive):
        self._receive = receive
        self._bytes = 0

    @property
    def is_too_large(self) -> bool:
        return self._bytes > MOST_BYTES

    async def receive(self) -> dict:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_too_large else message


class _Answer:
    has_begun = False

    def __init__(self, send):
        self._send = send

    async def send(self, message: dict) -> None:
        self.has_begun = True
        await self._send(message)


def _announced_bytes(scope: dict) -> int:
    """Return the announced length. Without one it is 0, and the bytes are counted as they come."""
    length = dict(scope.get("headers", ())).get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


async def _refuse(scope: dict, send) -> None:
    detail = f"The body has more than {MOST_BYTES:,} bytes."
    if problems.is_for_programs(scope["path"]):
        kind, text = (
            problems.CONTENT_TYPE,
            json.dumps(problems.body(413, detail, "payload_too_large")),
        )
    else:
        kind, text = "text/plain", detail
    headers = [(b"content-type", kind.encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
