"""The page /metrics for Prometheus, served without Django so that it costs next to nothing.

Every caller with `Authorization: Bearer <METRICS_TOKEN>` may read it, from any address. Without a
token in the settings there is no such page.
"""

import hmac
from http import HTTPStatus

from django.conf import settings

from gateway.serving import metrics

PATH = "/metrics"


async def metrics_application(scope, receive, send) -> None:
    refusal = _refusal(scope["method"], dict(scope["headers"]).get(b"authorization", b""))
    status, body = (HTTPStatus.OK, metrics.text()) if refusal is None else refusal
    headers = {
        "Content-Type": metrics.CONTENT_TYPE if refusal is None else "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
    }
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "GET, HEAD"
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def may_read(authorization: bytes) -> bool:
    """Return True if the header carries METRICS_TOKEN."""
    scheme, _, token = authorization.partition(b" ")
    is_token = hmac.compare_digest(token.strip(), settings.METRICS_TOKEN.encode())
    return bool(settings.METRICS_TOKEN) and scheme.lower() == b"bearer" and is_token


def _refusal(method: str, authorization: bytes) -> tuple[HTTPStatus, bytes] | None:
    if not settings.METRICS_TOKEN:
        return HTTPStatus.NOT_FOUND, b"There is nothing here: METRICS_TOKEN is not set.\n"
    if not may_read(authorization):
        return HTTPStatus.UNAUTHORIZED, b"Send 'Authorization: Bearer <METRICS_TOKEN>'.\n"
    if method not in ("GET", "HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED, b"Use GET.\n"
    return None
