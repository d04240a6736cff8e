"""The ASGI handler that serves /v1: Django without its detours.

URLs, requests, views and responses are Django's. Unlike the stock handler, this one runs no
middleware, signals or threads for a request. When a client hangs up, the handler notices it and
the request is still settled.
"""

import asyncio
import contextlib
import functools
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.urls import Resolver404, ResolverMatch, get_resolver

from gateway.access import token_buckets
from gateway.analytics import history
from gateway.commits import leases
from gateway.commits import queue as commit_queue
from gateway.dialects.anthropic import api as anthropic_api
from gateway.errors import (
    Forbidden,
    GatewayError,
    InternalError,
    NotFound,
    Unavailable,
    forget_frames,
)
from gateway.providers import upstream
from gateway.providers.metering import Ending
from gateway.serving import completions, forwarding, metrics, settlement
from gateway.serving.exchange import ClientGone, GatewayRequest
from gateway.v1 import urls
from gateway.v1.guards import AnyResponse, CompletionResponse

MESSAGES_PATH = "/v1/messages"
# Optional hooks that our server puts into the ASGI scope: is the connection closing; send the head
# together with the first body bytes, in one packet.
IS_CLOSING = "kyma.is_closing"
KEEP_HEAD = "kyma.keep_head"
NOTICED_WITHIN_S = 1  # The server reports a hang-up only to the last of pipelined requests.
LAST_WORDS_S = 1  # The time to send a refusal when the process ends.
SENDING_GRACE_S = 5  # The time after the total timeout in which an error event can be sent.
CORS = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "86400",
}


class GatewayHandler(ASGIHandler):
    """The handler of one HTTP request. `kyma.asgi` handles the lifespan."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Load nothing: /v1 has no middleware."""

    async def send_response(self, response: AnyResponse, send) -> None:
        """Send a response without the stock handler's layers around each part of a stream."""
        headers = [(k.encode("ascii"), v.encode("latin-1")) for k, v in response.items()]
        start = {"type": "http.response.start", "status": response.status_code}
        await send({**start, "headers": headers + CORS + _hsts()})
        if isinstance(response, HttpResponse):
            await send({"type": "http.response.body", "body": response.content})
            return
        assert isinstance(response, CompletionResponse)
        async with contextlib.aclosing(response.parts) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": response.answer.last_part})

    async def __call__(self, scope, receive, send) -> None:
        task = asyncio.current_task()
        assert task is not None
        client = _Client(scope, receive, send, task)
        request = GatewayRequest(scope, client.receive, lambda: client.is_gone)
        response = None
        try:
            async with asyncio.timeout(settings.REQUEST_TOTAL_TIMEOUT_S + SENDING_GRACE_S):
                response = await _respond(request)
                with _counted(response):
                    await self.send_response(response, client.send)
        except asyncio.CancelledError:
            _abandon(response, request.exchange.broken_off_as)
            if not client.is_gone:  # The process is ending and breaks the answer off.
                if client.has_head:
                    raise
                await self._say_that_kyma_ends(request, client)
            task.uncancel()
        except (ClientGone, TimeoutError):
            pass  # The client is gone or doesn't read. The server closes the connection.
        except Exception as error:  # The outermost edge: the server closes the connection.
            completions.log_fault(request.exchange.id, error)
            _abandon(response, Ending.KYMA_FAILED)  # The caller doesn't pay for Kyma's fault.
        finally:
            client.stop_watching()
            _abandon(response, Ending.CLIENT_GONE)

    async def _say_that_kyma_ends(self, request: GatewayRequest, client: "_Client") -> None:
        ending = Unavailable("Kyma is restarting and broke this request off: send it again.")
        refusal = _refusal(ending, request)
        refusal.headers["Connection"] = "close"
        refusal.headers["Content-Length"] = str(len(refusal.content))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self.send_response(refusal, client.send)


def _counted(response: AnyResponse) -> AbstractContextManager:
    """Count a stream in the metrics while it is being sent."""
    if isinstance(response, CompletionResponse) and response.answer.is_streamed:
        return metrics.open_streams.track_inprogress()
    return nullcontext()


def _abandon(response: AnyResponse | None, ending: Ending) -> None:
    if isinstance(response, CompletionResponse):
        response.answer.abandon(ending)


class _Client:
    """The client's end of the connection, watched once the request has been received."""

    def __init__(self, scope: dict, receive, send, task: asyncio.Task):
        self._is_closing = scope.get(IS_CLOSING)
        self._keep_head = scope.get(KEEP_HEAD) if scope["method"] == "POST" else None
        self._receive = receive
        self._send = send
        self._task = task
        self._watch: asyncio.Task | None = None
        self.has_head = False  # The head of the answer has been sent.
        self.is_gone = False

    async def receive(self) -> dict:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.is_gone = True
        elif message["type"] == "http.request" and not message.get("more_body"):
            self._watch = asyncio.create_task(self._wait_for_hang_up())
        return message

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message. If the server knows that the client is gone, this task is cancelled."""
        self.has_head = True
        if self._keep_head is not None and message.get("status") == 200:  # A body will follow.
            self._keep_head()
        await self._send(message)
        if not message.get("more_body"):
            return
        # Notice a hang-up before more parts count as delivered: the watch cancels this task.
        if self._is_closing is None:
            await asyncio.sleep(0)
        elif self._watch is not None and self._is_closing():
            await asyncio.wait((self._watch,), timeout=NOTICED_WITHIN_S)

    async def _wait_for_hang_up(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        self._task.cancel()

    def stop_watching(self) -> None:
        """Cancel and drop the watch. Keeping it would make a cycle for the garbage collector."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


async def _respond(request: GatewayRequest) -> AnyResponse:
    response: AnyResponse
    if request.method == "OPTIONS":
        response = HttpResponse(status=204, headers=PREFLIGHT)
    else:
        try:
            _require_tls(request)
            response = await _view(request)
        except GatewayError as error:
            response = _refusal(error, request)
            forget_frames(error)
        except ClientGone:
            raise
        except Exception as error:  # The outermost edge: no traceback reaches a caller.
            completions.log_fault(request.exchange.id, error)
            response = _refusal(InternalError("Kyma failed."), request)
            forget_frames(error)
    _name(response, request.path_info, request.exchange.public_id)
    response.headers["openai-processing-ms"] = str(round(request.exchange.elapsed_ms()))
    if response.status_code == 204:
        del response.headers["Content-Type"]
    elif isinstance(response, HttpResponse):
        response.headers["Content-Length"] = str(len(response.content))
    return response


def _refusal(error: GatewayError, request: GatewayRequest) -> HttpResponse:
    return error_response(error, request.path_info, request.exchange.public_id)


def _hsts() -> list[tuple[bytes, bytes]]:
    """Return the HSTS header that Django's middleware sets on pages."""
    if not settings.SECURE_HSTS_SECONDS:
        return []
    text = f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains; preload"
    return [(b"strict-transport-security", text.encode())]


def _require_tls(request: GatewayRequest) -> None:
    """Raise Forbidden on plain http. A redirect would let clients send keys in the clear again."""
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        raise Forbidden(
            "Use https. A key that was sent without it is no longer secret: rotate it.",
            code="https_required",
        )


async def _view(request: GatewayRequest) -> AnyResponse:
    try:
        match = _resolve(request.path_info)
    except Resolver404 as error:
        origin = f"{request.scheme}://{request.headers.get('host', 'localhost')}"
        raise NotFound(
            f"There is nothing at {request.path_info[:80]}. OpenAI clients take the base URL "
            f"{origin}/v1, Anthropic clients {origin}.",
            code="unknown_url",
        ) from error
    return await match.func(request, *match.args, **match.kwargs)


@functools.lru_cache(maxsize=256)  # Most requests use the same few paths.
def _resolve(path: str) -> ResolverMatch:
    return get_resolver(urls.__name__).resolve(path)


def error_response(error: GatewayError, path: str, request_id: str) -> HttpResponse:
    """Return an error in the format that clients of this path expect."""
    speaks_anthropic = path.startswith(MESSAGES_PATH)
    body = (
        anthropic_api.error_body(error, request_id) if speaks_anthropic else error.body(request_id)
    )
    response = HttpResponse(
        body, status=error.status, content_type="application/json", headers=error.headers
    )
    response.headers.setdefault("x-should-retry", "true" if error.is_worth_repeating else "false")
    _name(response, path, request_id)
    return response


def _name(response: AnyResponse, path: str, request_id: str) -> None:
    response.headers["x-request-id"] = request_id
    if path.startswith(MESSAGES_PATH):
        response.headers["request-id"] = request_id


async def start() -> None:
    """Begin the lease of this process, and load the recent health of the routes."""
    leases.lease().keep()
    await history.learn()


async def close() -> None:
    """Settle open requests, write queued commits and close the connections to providers."""
    await forwarding.stop_draining()
    await settlement.wait_for_all()
    await commit_queue.close()
    await token_buckets.close()
    await upstream.close()


gateway_application = GatewayHandler()
