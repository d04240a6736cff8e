"""Chat chunks as the events of a Messages stream.

Clients break unless one block at a time is open, and indexes rise from 0 without gaps. So blocks
wait in a queue: the first one is open and speaks as it is spoken, and the others gather what they
will say. Text and thinking are over as soon as another block waits; a tool call is over when its
arguments are whole, for fragments of parallel calls may come in any order.
"""

from collections import deque
from collections.abc import Collection

import orjson

from gateway.dialects.anthropic.errors import error_object
from gateway.dialects.anthropic.message import (
    SIGNATURE,
    ending,
    message_id,
    opening,
    stopped_at,
    tool_input,
    tool_use_id,
    usage_object,
)
from gateway.dialects.chat.answer import index_of, name_and_arguments, tool_calls
from gateway.dialects.chat.messages import size_of
from gateway.errors import GatewayError

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def event(data: dict) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))


class _Speech:
    """A block of text or thinking."""

    def __init__(self, kind: str):
        self.kind = kind
        self._unsent = ""

    @property
    def waiting(self) -> int:
        return size_of(self._unsent)

    def add(self, piece: str) -> None:
        self._unsent += piece

    def is_over(self) -> bool:
        return True

    def start(self) -> dict:
        signature = {"signature": ""} if self.kind == "thinking" else {}
        return {"type": self.kind, self.kind: "", **signature}

    def deltas(self) -> list[dict]:
        """What can be said now."""
        piece, self._unsent = self._unsent, ""
        return [{"type": f"{self.kind}_delta", self.kind: piece}] if piece else []

    def last_deltas(self) -> list[dict]:
        """What is left to say before the block closes."""
        deltas = self.deltas()
        if self.kind == "thinking":
            deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        return deltas


class _ToolUse:
    """A block for one tool call."""

    kind = "tool_use"

    def __init__(self, own_id: str, place: int):
        self.given_id: str | None = None
        self._own_id = own_id
        self._place = place
        self._name = ""
        self._pieces: list[str] = []
        self._sent = 0  # pieces
        self._checked = 0  # pieces, when they were last seen not to be whole
        self.waiting = 0  # bytes of the name and the arguments

    def add(self, call: dict) -> None:
        name, arguments = name_and_arguments(call)
        if name != self._name:  # Some providers repeat it in every fragment.
            self._name += name
        self.waiting += size_of(name) + size_of(arguments)
        self.given_id = self.given_id or call.get("id")
        if arguments and (self._pieces or arguments.strip()):
            self._pieces.append(arguments)

    def is_over(self) -> bool:
        """Whether the arguments are a whole object, after which nothing can come."""
        count = len(self._pieces)
        if count == self._checked or not self._pieces[-1].rstrip().endswith("}"):
            return False
        self._checked = count
        try:
            orjson.loads("".join(self._pieces))
        except orjson.JSONDecodeError:
            return False
        return True

    def start(self) -> dict:
        return {
            "type": "tool_use",
            "id": tool_use_id(self.given_id, self._own_id, self._place),
            "name": self._name,
            "input": {},
        }

    def deltas(self) -> list[dict]:
        """Arguments as they come, once they have begun like an object."""
        if not self._pieces or not self._pieces[0].lstrip().startswith("{"):
            return []
        return self._rest()

    def last_deltas(self) -> list[dict]:
        if self._sent:
            return self._rest()
        arguments = "".join(self._pieces)
        return [_json_delta(orjson.dumps(tool_input(arguments)).decode())]

    def _rest(self) -> list[dict]:
        rest = "".join(self._pieces[self._sent :])
        self._sent = len(self._pieces)
        self.waiting = 0
        return [_json_delta(rest)] if rest else []


def _json_delta(piece: str) -> dict:
    return {"type": "input_json_delta", "partial_json": piece}


class MessageStream:
    """The events of one answer: start, then feed for each chunk, then finish or fail.

    `stop_sequences` are those that were asked for.
    """

    def __init__(
        self, stop_sequences: Collection[str] = (), *, tells_thinking: bool = True
    ) -> None:
        self._stop_sequences = stop_sequences
        self._tells_thinking = tells_thinking
        self._untold = 0  # bytes of thinking that no event tells
        self._stopped_at: str | None = None
        self._own_id = ""
        self._index = 0  # of the first block in the queue
        self._is_open = False  # the first block in the queue
        self._queue: deque[_Speech | _ToolUse] = deque()
        self._calls: dict[int, _ToolUse] = {}
        self._calls_seen = 0
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
        """Bytes of content in blocks whose turn hasn't come, or that have none."""
        return self._untold + sum(block.waiting for block in self._queue)

    def feed(self, chunk: dict) -> bytes:
        """The events that the chunk makes: none if it says nothing, or nothing yet."""
        for choice in chunk.get("choices") or ():
            if index_of(choice) == 0:
                self._take(choice)
        return self._speak()

    def ping(self) -> bytes:
        return PING

    def finish(self, usage: dict) -> bytes:
        """The end of an answer that is complete."""
        events = [self._speak()]
        while self._queue:
            events.append(self._close())
        delta = ending(
            self._finish_reason,
            calls=bool(self._calls_seen),
            refused=self._refused,
            stopped_at=self._stopped_at,
        )
        end = {"type": "message_delta", "delta": delta, "usage": usage_object(usage)}
        return b"".join([*events, event(end), event({"type": "message_stop"})])

    def fail(self, error: GatewayError) -> bytes:
        """The end of an answer that broke off. Its open block stays open: it isn't complete."""
        return event({"type": "error", "error": error_object(error)})

    # --- What comes in

    def _take(self, choice: dict) -> None:
        if choice.get("finish_reason"):
            self._finish_reason = choice["finish_reason"]
            self._stopped_at = stopped_at(choice, self._stop_sequences)
        delta = choice.get("delta") or {}
        self._refused = self._refused or bool(delta.get("refusal"))
        if thought := delta.get("reasoning"):
            if self._tells_thinking:
                self._block_of("thinking").add(thought)
            else:
                self._untold += size_of(thought)
        if text := (delta.get("content") or "") + (delta.get("refusal") or ""):
            self._block_of("text").add(text)
        for call in tool_calls(delta):
            self._call_of(call).add(call)

    def _block_of(self, kind: str) -> _Speech:
        last = self._queue[-1] if self._queue else None
        if isinstance(last, _Speech) and last.kind == kind:
            return last
        block = _Speech(kind)
        self._queue.append(block)
        return block

    def _call_of(self, fragment: dict) -> _ToolUse:
        """The call that the fragment belongs to: a new one if it brings another id and a name."""
        index = index_of(fragment)
        known = self._calls.get(index)
        given_id = fragment.get("id")
        if known is not None:
            is_other = given_id and known.given_id and given_id != known.given_id
            if not (is_other and name_and_arguments(fragment)[0]):
                return known
        block = _ToolUse(self._own_id, self._calls_seen)
        self._calls[index] = block
        self._calls_seen += 1
        self._queue.append(block)
        return block

    # --- What goes out

    def _speak(self) -> bytes:
        """What the first block in the queue has to say, and the next if that one is over."""
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
