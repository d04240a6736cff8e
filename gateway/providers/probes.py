"""Probes of providers and routes: a list of models is free, one token costs next to nothing.

Probes never run while a request waits, and only people read their results: they switch nothing
off, and the routing doesn't know them. Each process's breaker learns from real requests instead,
because a provider may list its models while it fails to serve them, or the other way round.

Some providers list their models even without a key. For them, only `test_route` tests the key.
"""

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import requests
import urllib3
from django.db.models import QuerySet
from django.utils import timezone

from accounts.errors import SealBroken
from billing.pricing import Usage
from gateway.catalogue.entries import only_embeds, unsupported_over
from gateway.catalogue.sessions import session
from gateway.dialects import embeddings as embedding_request
from gateway.dialects.chat import request as chat_request
from gateway.dialects.request import ProviderRequest
from gateway.failures import Broken, Declined, Garbled, Refused, Silent, UpstreamFailed, from_status
from gateway.models import Provider, Route
from gateway.providers import upstream
from gateway.providers.body import upstream_body
from gateway.providers.metering import MALFORMED, Meter
from gateway.providers.upstream import STREAM_END, read_chunk
from gateway.wire.sse import EventParser, EventTooLarge

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0
TOKEN_TIMEOUT_S = 30.0  # A provider may have to load the model first.
MAX_BYTES = 5_000_000
PIECE_BYTES = 2**16
AT_ONCE = 8
PROMPT = "ping"

Note = Provider.ProbeNote


# --- A provider: its address and its key ---------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Probe:
    """The result of one probe. `status` is None if no answer came."""

    note: Note
    ms: int
    status: int | None = None

    @property
    def ok(self) -> bool:
        return self.note is Note.ANSWERS

    def __str__(self) -> str:
        status = f"status {self.status}, " if self.status else ""
        return f"{self.note.label} ({status}{self.ms} ms)"


def probe_provider(provider: Provider) -> Probe:
    """Ask for the list of models with the provider's key. This costs nothing."""
    begun = time.monotonic()
    status = None
    try:
        with _exchange(provider, "/models", timeout_s=READ_TIMEOUT_S) as response:
            status = response.status
            note = _note(response)
    except SealBroken:
        note = Note.KEY_UNREADABLE
    except Garbled:
        note = Note.ODD
    except UpstreamFailed:
        note = Note.UNREACHABLE
    return Probe(note, _ms_since(begun), status)


def refresh(providers: QuerySet[Provider]) -> list[tuple[Provider, Probe]]:
    """Probe all providers in parallel and save the results."""
    rows = list(providers)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = list(zip(rows, threads.map(probe_provider, rows), strict=True))
    for provider, probe in found:
        Provider.objects.filter(pk=provider.pk).update(
            probed_at=timezone.now(), probe_ok=probe.ok, probe_note=probe.note
        )
    return found


def _note(response: "_Response") -> Note:
    if response.status in (401, 403):
        return Note.KEY_REFUSED
    if response.status != 200:
        return Note.ODD
    said = upstream.parse(response.whole())
    models = said.get("data") if isinstance(said, dict) else said  # Together sends the bare list.
    return Note.ANSWERS if isinstance(models, list) else Note.ODD


# --- A route: one token of its model -------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of asking for one token. `problem` is "" on success, and holds no secret."""

    ms: int
    problem: str = ""
    usage: Usage | None = None

    def __str__(self) -> str:
        if self.problem:
            return f"{self.problem} ({self.ms} ms)"
        if self.usage is None:
            return f"answers without usage ({self.ms} ms)"
        return f"answers ({self.ms} ms, {self.usage.prompt} + {self.usage.completion} tokens)"


@dataclasses.dataclass(frozen=True)
class RouteTest:
    whole: Answer
    streamed: Answer

    @property
    def ok(self) -> bool:
        return not (self.whole.problem or self.streamed.problem)

    @property
    def reports_usage(self) -> bool:
        """True when both answers report usage. Otherwise Kyma bills by its own estimate."""
        return None not in (self.whole.usage, self.streamed.usage)

    def __str__(self) -> str:
        return f"whole: {self.whole}; streamed: {self.streamed}"


def test_route(route: Route) -> RouteTest:
    """Ask for one token, whole and as a stream, or for one vector.

    This costs a fraction of a cent, so it runs only when a person asks for it.
    """
    whole = _ask(route, _request(route, stream=False))
    if only_embeds(tuple(route.model.capabilities)):  # Vectors can't be streamed.
        return RouteTest(whole=whole, streamed=whole)
    return RouteTest(whole=whole, streamed=_ask(route, _request(route, stream=True)))


def test_routes(routes: QuerySet[Route]) -> list[tuple[Route, RouteTest]]:
    """Test all routes in parallel."""
    rows = list(routes.select_related("model", "provider"))  # Threads must not use the database.
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(zip(rows, threads.map(test_route, rows), strict=True))


def _ask(route: Route, request: ProviderRequest) -> Answer:
    begun = time.monotonic()
    length = route.context_length or route.model.context_length
    meter = Meter(prompt_estimate=0, context_length=length, answers=request.answers, images=0)
    try:
        body, path = _body(route, request), request.endpoint.path
        with _exchange(route.provider, path, timeout_s=TOKEN_TIMEOUT_S, body=body) as response:
            response.check()
            if request.stream:
                _read_stream(response, meter)
            else:
                meter.saw(request.accepted(read_chunk(response.whole())))
    except SealBroken:
        return Answer(_ms_since(begun), Note.KEY_UNREADABLE.label)
    except (*MALFORMED, EventTooLarge):
        return Answer(_ms_since(begun), _problem(Garbled(status=200)))
    except UpstreamFailed as failure:
        return Answer(_ms_since(begun), _problem(failure))
    return Answer(_ms_since(begun), usage=meter.reported()[0])


def _request(route: Route, *, stream: bool) -> ProviderRequest:
    model = {"model": route.upstream_model}
    if only_embeds(tuple(route.model.capabilities)):
        return embedding_request.parse({**model, "input": PROMPT})
    message = {"role": "user", "content": PROMPT}
    return chat_request.parse({**model, "messages": [message], "stream": stream})


def _body(route: Route, request: ProviderRequest) -> bytes:
    """Return the body that the gateway itself would send."""
    return upstream_body(
        request,
        upstream_model=route.upstream_model,
        max_tokens=1,
        passthrough=route.passthrough,
        unsupported=unsupported_over(route),
        wants_max_completion_tokens=route.provider.wants_max_completion_tokens,
    )


def _read_stream(response: "_Response", meter: Meter) -> None:
    if not response.is_stream:
        read_chunk(response.whole())  # This raises if the body is an error.
        raise Garbled(status=200)
    parser = EventParser()
    for piece in response.pieces():
        for payload in parser.feed(piece):
            if payload == STREAM_END and meter.has_answered:
                return
            meter.saw(read_chunk(payload))
    if not meter.is_complete:
        raise Broken(status=200)


def _problem(failure: UpstreamFailed) -> str:
    """Describe a failure, in the provider's (cleaned) words only if it declined the request."""
    problem = f"{failure.fault}, status {failure.status}" if failure.status else failure.fault
    return f"{problem}: {failure.message}" if isinstance(failure, Declined) else problem


# --- Talking to a provider -----------------------------------------------------------------------


class _Response:
    """An answer that is read piece by piece, within `MAX_BYTES` and a deadline.

    Reading raises UpstreamFailed.
    """

    def __init__(self, response: requests.Response, deadline: float):
        self._response = response
        self._deadline = deadline
        self.status = response.status_code
        self.is_stream = "event-stream" in response.headers.get("Content-Type", "")

    def check(self) -> None:
        if self.status == 200:
            return
        try:
            said = upstream.parse(self.whole())
        except UpstreamFailed:
            said = None
        raise from_status(self.status, said)

    def whole(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        size = 0
        while piece := self._response.raw.read1(PIECE_BYTES):
            size += len(piece)
            if size > MAX_BYTES:
                raise Garbled(status=self.status)
            if time.monotonic() > self._deadline:
                raise Silent(status=self.status)
            yield piece


@contextmanager
def _exchange(
    provider: Provider, path: str, *, timeout_s: float, body: bytes | None = None
) -> Iterator[_Response]:
    """Send a GET, or a POST of `body`, and yield the answer. Raises UpstreamFailed, SealBroken."""
    headers: dict[str, str | bytes] = {"User-Agent": "Kyma", "Accept-Encoding": "identity"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if key := provider.api_key:
        headers["Authorization"] = f"Bearer {key}".encode()
    with session(is_self_hosted=provider.self_hosted) as opened:
        try:
            with opened.request(
                "GET" if body is None else "POST",
                provider.base_url.rstrip("/") + path,
                data=body,
                headers=headers,
                timeout=(CONNECT_TIMEOUT_S, timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                yield _Response(response, time.monotonic() + timeout_s)
        except (requests.ReadTimeout, urllib3.exceptions.TimeoutError) as error:
            raise Silent from error
        except urllib3.exceptions.HTTPError as error:
            raise Broken from error
        except requests.RequestException as error:
            # After a ProtocolError the provider may have begun; any other error came before that.
            is_broken = isinstance(next(iter(error.args), None), urllib3.exceptions.ProtocolError)
            raise (Broken if is_broken else Refused) from error


def _ms_since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
