"""Step 6 of a stream: it is written to the client, and as much as is needed later is kept."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator

from django.conf import settings

from gateway.dialects.apis import Stream
from gateway.dialects.chat.answer import index_of, name_and_arguments
from gateway.dialects.chat.chunks import Identity, own_chunk
from gateway.dialects.chat.mending import Mender
from gateway.serving.forwarding import Forwarding
from gateway.serving.idempotency import MAX_KEPT_BYTES

_LOGGED = frozenset({"content", "reasoning", "refusal", "text"})


class Delivery:
    """One answer on its way to its client.

    `said` is for the content log. `written`, all bytes but pings, is for an idempotent replay.
    """

    def __init__(
        self,
        forwarding: Forwarding,
        stream: Stream,
        identity: Identity,
        *,
        include_usage: bool,
        keeps_bytes: bool,
    ):
        self._forwarding = forwarding
        self._stream = stream
        self._identity = identity
        self._include_usage = include_usage
        self._keeps_bytes = keeps_bytes
        self._gathered = GatheredAnswer()
        self._mender = Mender(identity.id)
        self._pieces: list[bytes] = []
        self._kept_bytes = 0
        self._fed = 0  # bytes of content
        self.has_begun = False

    async def write(self, opening: bytes) -> AsyncIterator[bytes]:
        """Yield the bytes from `opening` on, but for the end. Raises UpstreamFailed.

        A part counts as delivered once the next is asked for.
        """
        self.has_begun = True
        written = self.note(opening)
        interval_s, said = settings.KEEP_ALIVE_INTERVAL_S, time.monotonic()
        async for chunks in self._forwarding.read():
            if not chunks:
                written += self._stream.ping()
            for chunk, size in chunks:
                own = own_chunk(chunk, self._identity, include_usage=self._include_usage)
                if own is not None:
                    self._mender.mend(own)
                    self._gathered.add(own)
                    written += self.note(self._stream.feed(own))
                    self._fed += size
            if not written and time.monotonic() - said >= interval_s:
                written = self._stream.ping()  # The provider isn't silent, but says nothing.
            if written:
                yield written
                written, said = b"", time.monotonic()
                self.note_delivered()
        if written:  # The provider said nothing at all.
            yield written

    def note_delivered(self) -> None:
        """Count all content so far as delivered, but for what the stream holds back for later."""
        meter, handed_over = self._forwarding.meter, self._fed - self._stream.waiting
        meter.delivered_bytes = max(meter.delivered_bytes, handed_over)

    def note(self, written: bytes) -> bytes:
        """Return `written`, keeping a copy for idempotent replay. Stop past MAX_KEPT_BYTES."""
        if self._keeps_bytes and self._kept_bytes <= MAX_KEPT_BYTES:
            self._pieces.append(written)
            self._kept_bytes += len(written)
        return written

    @property
    def written(self) -> bytes:
        return b"".join(self._pieces)

    @property
    def calls_tools(self) -> bool:
        """True if the first answer in it calls tools."""
        return self._gathered.calls(0)

    @property
    def said(self) -> list[dict]:
        return self._gathered.messages()


class GatheredAnswer:
    """A streamed answer, gathered from its mended chunks for the content log."""

    def __init__(self) -> None:
        self._texts: defaultdict[int, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        self._calls: defaultdict[int, dict[int, dict]] = defaultdict(dict)

    def add(self, chunk: dict) -> None:
        for choice in chunk["choices"]:
            said = choice.get("delta") or choice
            index = index_of(choice)
            texts = self._texts[index]
            for name, text in said.items():
                if text and name in _LOGGED:
                    texts[name].append(text)
            for call in said.get("tool_calls") or ():
                self._add_call(index, call)

    def _add_call(self, owner: int, call: dict) -> None:
        nothing = {"id": call.get("id"), "name": "", "arguments": ""}
        known = self._calls[owner].setdefault(index_of(call), nothing)
        name, arguments = name_and_arguments(call)
        known["name"] += name
        known["arguments"] += arguments

    def calls(self, index: int) -> bool:
        """True when this answer calls tools."""
        return index in self._calls

    def messages(self) -> list[dict]:
        """Return one message per answer."""
        messages = []
        for index, texts in sorted(self._texts.items()):
            message: dict = {name: _joined(pieces) for name, pieces in texts.items()}
            calls = self._calls.get(index)
            messages.append({**message, "tool_calls": [*calls.values()]} if calls else message)
        return messages


def _joined(pieces: list) -> str:
    # The `text` of text completions isn't mended.
    return "".join(piece for piece in pieces if isinstance(piece, str))
