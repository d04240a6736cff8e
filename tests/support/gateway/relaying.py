"""A provider's bytes through all of Kyma that touches them, without a network or a database.

`relayed` is what a client of a dialect gets of a stream that arrives in the given pieces.
"""

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import Iterable

import pytest

from billing.pricing import Price
from gateway.catalogue.entries import Candidate
from gateway.commits.record import RequestRecord
from gateway.dialects.apis import Dialect, Opening
from gateway.dialects.chat import request as chat_request
from gateway.dialects.chat.chunks import Identity, usage_object
from gateway.providers import upstream
from gateway.providers.metering import Ending
from gateway.serving.delivery import Delivery
from gateway.serving.forwarding import Forwarding
from gateway.wire.sse import EventParser

IDENTITY = Identity(id="chatcmpl-1", created=1, model="scripted", provider="Scripted")
BODY = {"model": "scripted", "input": "Hello", "stream": True}
_FREE = Price(*[0 for _ in dataclasses.fields(Price)])
_ROUTE = Candidate(
    route_id="route",
    model="scripted",
    provider="scripted",
    provider_name="Scripted",
    privacy_policy_url="",
    retention="none",
    states_retention=True,
    needed_choice="none",
    base_url="http://provider.invalid",
    api_key=None,
    is_self_hosted=True,
    upstream_model="up",
    price_version_id="price",
    price=_FREE,
    cost_price=_FREE,
    price_verified=True,
    context_length=8192,
    max_output_tokens=8192,
    image_tokens=0,
    template_tokens=0,
    quantization="",
    passthrough=False,
    unsupported=frozenset(),
    wants_max_completion_tokens=False,
    stops_billing_on_cancel=True,
)


class Pieces:
    """An `upstream.EventStream` whose bytes are known beforehand."""

    def __init__(self, pieces: Iterable[bytes]):
        self._pieces = iter(pieces)
        self._parser = EventParser()
        self._ended = False

    async def read(self, timeout_s: float) -> list[bytes] | None:
        if self._ended:
            return None
        received = next(self._pieces, b"")
        self._ended = not received
        return self._parser.finish() if self._ended else self._parser.feed(received)

    def close(self) -> None:
        pass


def relayed(
    patch: pytest.MonkeyPatch, dialect: Dialect, cost_nano: int, pieces: Iterable[bytes]
) -> bytes:
    async def open_stream(*_) -> Pieces:
        return Pieces(pieces)

    patch.setattr(upstream, "open_stream", open_stream)
    return asyncio.run(_relayed(dialect, cost_nano))


async def _relayed(dialect: Dialect, cost_nano: int) -> bytes:
    messages = [{"role": "user", "content": "Hello"}]
    wanted = {"stream": True, "stream_options": {"include_usage": True}}
    chat = chat_request.parse({"model": "scripted", "messages": messages, **wanted})
    now = dt.datetime.now(dt.UTC)
    record = RequestRecord("1", "1", None, now, dialect.api)
    forwarding = Forwarding(chat, (_ROUTE,), 100, record, time.monotonic() + 60)
    await forwarding.open()
    stream, opening = dialect.open(Opening(IDENTITY, chat, BODY, prompt_tokens=9))
    delivery = Delivery(forwarding, stream, IDENTITY, include_usage=True, keeps_bytes=False)
    written = [piece async for piece in delivery.write(opening)]
    meter = forwarding.meter
    assert meter.delivered_bytes + stream.waiting == meter.seen_bytes
    usage = usage_object(meter.bill(Ending.FINISHED).usage, cost_nano)
    return b"".join([*written, stream.finish(usage)])
