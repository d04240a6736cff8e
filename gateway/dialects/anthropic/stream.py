"""Chat chunks as the events of a Messages stream.

Clients break unless one block at a time is open and indexes rise from 0 without gaps. So blocks
wait in a queue. The first block is open and sends what it gets; the others gather it. Text and
thinking are over as soon as another block waits. A tool call is over when its arguments are whole,
because fragments of parallel calls may come in any order.
"""

from collections import deque
from collections.abc import Collection

import orjson

from gateway.dialects.anthropic.blocks import Speech, ToolUse
from gateway.dialects.anthropic.errors import error_object
from gateway.dialects.anthropic.message import (
    ending,
    message_id,
    opening,
    stopped_at,
    usage_object,
)
from gateway.dialects.chat.answer import index_of
from gateway.dialects.chat.messages import size_of
from gateway.errors import GatewayError

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def event(data: dict) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))


class MessageStream:
    """Writes the events of one answer: `start`, `feed` for each chunk, then `finish` or `fail`.

    The chunks are mended. `stop_sequences` are those of the request.
    """

    def __init__(
        self, stop_sequences: Collection[str] = (), *, shows_thinking: bool = True
    ) -> None:
        self._stop_sequences = stop_sequences
        self._shows_thinking = shows_thinking
        self._hidden = 0  # bytes of thinking that no event shows
        self._stopped_at: str | None = None
        self._own_id = ""
        self._index = 0  # of the first block in the queue
        self._is_open = False  # the first block in the queue
        self._queue: deque[Speech | ToolUse] = deque()
        self._calls: list[ToolUse] = []  # by their index in the chunks
        self._finish_reason: object = None
        self._refused = False

    def start(self, *, answer_id: str, model: str, input_tokens: int) -> bytes:
        """`input_tokens` is an estimate: the true figure comes at the end."""
        self._own_id = message_id(answer_id)
        usage = {
            "input_tokens": input_tokens,
            "output_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        }
        message = {**opening(self._own_id, model), "usage": usage}
        return event({"type": "message_start", "message": message})

    @property
    def waiting(self) -> int:
        """The bytes of content in blocks whose turn hasn't come, and of hidden thinking."""
        return self._hidden + sum(block.waiting for block in self._queue)

    def feed(self, chunk: dict) -> bytes:
        """Return the events of a chunk: none if it is empty or everything in it has to wait."""
        for choice in chunk.get("choices") or ():
            if index_of(choice) == 0:
                self._take(choice)
        return self._speak()

    def ping(self) -> bytes:
        return PING

    def finish(self, usage: dict) -> bytes:
        """Return the end of an answer that is complete."""
        events = [self._speak()]
        while self._queue:
            events.append(self._close())
        delta = ending(
            self._finish_reason,
            calls=bool(self._calls),
            refused=self._refused,
            stopped_at=self._stopped_at,
        )
        end = {"type": "message_delta", "delta": delta, "usage": usage_object(usage)}
        return b"".join([*events, event(end), event({"type": "message_stop"})])

    def fail(self, error: GatewayError) -> bytes:
        """Return the end of an answer that broke off. Its open block stays incomplete."""
        return event({"type": "error", "error": error_object(error)})

    # --- What comes in

    def _take(self, choice: dict) -> None:
        if choice.get("finish_reason"):
            self._finish_reason = choice["finish_reason"]
            self._stopped_at = stopped_at(choice, self._stop_sequences)
        delta = choice.get("delta") or {}
        if thought := delta.get("reasoning"):
            self._think(thought)
        refusal = delta.get("refusal") or ""
        self._refused = self._refused or bool(refusal)
        if text := (delta.get("content") or "") + refusal:
            self._block_of("text").add(text)
        for fragment in delta.get("tool_calls") or ():
            self._call_of(fragment).add(fragment)

    def _think(self, thought: str) -> None:
        if self._shows_thinking:
            self._block_of("thinking").add(thought)
        else:
            self._hidden += size_of(thought)

    def _block_of(self, kind: str) -> Speech:
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Speech) and last.kind == kind:
            return last
        block = Speech(kind)
        self._queue.append(block)
        return block

    def _call_of(self, fragment: dict) -> ToolUse:
        """Return the call of a fragment: a new one for the next index, which brings its id."""
        index = fragment["index"]
        if index == len(self._calls):
            self._calls.append(ToolUse(fragment["id"]))
            self._queue.append(self._calls[index])
        return self._calls[index]

    # --- What goes out

    def _speak(self) -> bytes:
        """Return what the first block in the queue can send, and the next one if that is over."""
        events = []
        while self._queue:
            first = self._queue[0]
            if deltas := first.deltas():
                events.append(self._open() + self._deltas(deltas))
            if len(self._queue) == 1 or not first.is_over():
                break
            events.append(self._close())
        return b"".join(events)

    def _open(self) -> bytes:
        if self._is_open:
            return b""
        self._is_open = True
        block = self._queue[0].start()
        return event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _deltas(self, deltas: list[dict]) -> bytes:
        return b"".join(
            event({"type": "content_block_delta", "index": self._index, "delta": delta})
            for delta in deltas
        )

    def _close(self) -> bytes:
        said = self._open() + self._deltas(self._queue[0].last_deltas())
        stop = event({"type": "content_block_stop", "index": self._index})
        self._queue.popleft()
        self._index += 1
        self._is_open = False
        return said + stop
