"""The output items of a response, built from a chat answer as it comes.

A whole answer is one delta to it: so what a stream ends with is what the same answer gives in one
piece. Reasoning and messages are open one at a time, in the order in which they come; calls stay
open until the end, because the arguments of parallel calls may come in turns.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.dialects.chat.answer import name_and_arguments
from gateway.dialects.chat.custom_tools import told_by
from gateway.dialects.chat.messages import size_of
from gateway.dialects.responses.caller_tools import CallerTool
from gateway.dialects.responses.seal import Seal
from gateway.dialects.responses.tools import Tool

Emit = Callable[[str, dict], None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of text: the item that it stands in, its part there, the member with its text."""

    item: str
    part: str
    member: str
    events: str
    part_events: str = "response.content_part"
    place: str = "content"


_REASONING = _Kind("reasoning", "reasoning_text", "text", "response.reasoning_text")
_SUMMARY = _Kind(
    "reasoning",
    "summary_text",
    "text",
    "response.reasoning_summary_text",
    "response.reasoning_summary_part",
    "summary",
)
_TEXT = _Kind("message", "output_text", "text", "response.output_text")
_REFUSAL = _Kind("message", "refusal", "refusal", "response.refusal")


class _Part:
    def __init__(self, kind: _Kind, index: int):
        self.kind = kind
        self.index = index
        self.pieces: list[str] = []
        self.logprobs: list[dict] = []
        self.annotations: list[dict] = []

    def as_dict(self) -> dict:
        part: dict = {"type": self.kind.part, self.kind.member: "".join(self.pieces)}
        if self.kind is _TEXT:
            part |= {"annotations": [*self.annotations], "logprobs": self.logprobs}
        return part


class _Item:
    """One output item; it is `in_progress` until it is closed."""

    index: int
    id: str
    status = "in_progress"

    def place(self) -> dict:
        return {"item_id": self.id, "output_index": self.index}


class _Speech(_Item):
    """A reasoning item or a message: texts, one after the other."""

    def __init__(self, kind: str):
        self.kind = kind
        self.prefix = "rs" if kind == "reasoning" else "msg"
        self.parts: list[_Part] = []
        self.sealed: str | None = None

    @property
    def text(self) -> str:
        return "".join(piece for part in self.parts for piece in part.pieces)

    def as_dict(self) -> dict:
        said: dict[str, list[dict]] = {"summary": [], "content": []}
        for part in self.parts:
            said[part.kind.place].append(part.as_dict())
        if self.kind == "reasoning":
            sealed = {"encrypted_content": self.sealed} if self.sealed is not None else {}
            return {"type": "reasoning", "id": self.id, **said, **sealed}
        return {
            "type": "message",
            "id": self.id,
            "role": "assistant",
            "status": self.status,
            "content": said["content"],
        }


class _Call(_Item):
    """A call of a function; or of a tool of another kind, which is told once it is whole.

    `name` is what chat calls it, `tool` what the caller does.
    """

    is_open = False
    given_id = ""  # by the provider; it may be missing, or the same twice
    call_id = ""
    name = ""
    tool: Tool | None = None
    input = ""
    waiting = 0  # bytes of arguments that no event has told yet

    def __init__(self) -> None:
        self.pieces: list[str] = []

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def is_custom(self) -> bool:
        return self.tool is not None and self.tool.kind == "custom"

    @property
    def of_caller(self) -> CallerTool | None:
        return self.tool.of_caller if self.tool else None

    @property
    def prefix(self) -> str:
        if self.of_caller:
            return self.of_caller.prefix
        return "ctc" if self.is_custom else "fc"

    @property
    def own_name(self) -> str:
        return self.tool.name if self.tool else self.name

    def as_dict(self) -> dict:
        if self.of_caller:
            return self._as_item_of(self.of_caller)
        called = {"id": self.id, "call_id": self.call_id, "name": self.own_name}
        if self.tool and self.tool.namespace:
            called["namespace"] = self.tool.namespace
        if self.is_custom:
            kind = {"type": "custom_tool_call", "input": self.input}
        else:
            kind = {"type": "function_call", "arguments": self.arguments}
        return {**kind, **called, "status": self.status}

    def _as_item_of(self, tool: CallerTool) -> dict:
        is_whole = self.status == "completed"
        return {
            "type": f"{self.own_name}_call",
            "id": self.id,
            "call_id": self.call_id,
            tool.member: tool.read(self.arguments) if is_whole else tool.nothing,
            "status": tool.cut_off if self.status == "incomplete" else self.status,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request says of its output. `tools` are those that the model was offered, by what chat
    calls them. What is thought is told as it is, or as its own summary; with a `seal`, sealed too.
    """

    tools: Mapping[str, Tool]
    summary: bool = False
    seal: Seal | None = None


class Output:
    """Takes the deltas of one answer, tells its events, and has its items in the end.

    `emit` gets the name of each event and what it says. `suffix` makes the ids of the items.
    """

    def __init__(self, suffix: str, emit: Emit, wanted: Wanted):
        self._tools = wanted.tools
        self._reasoning = _SUMMARY if wanted.summary else _REASONING
        self._seal = wanted.seal
        self._suffix = suffix
        self._emit = emit
        self._items: list[_Speech | _Call] = []
        self._speech: _Speech | None = None
        self._calls: dict[int, _Call] = {}  # by their place in the chat answer
        self._all_calls: list[_Call] = []
        self._unnamed: list[_Call] = []
        self._call_ids: set[str] = set()

    def add(self, delta: dict, logprobs: Any = None) -> None:
        """Take in a delta of a chat answer, or its whole message."""
        self._say(self._reasoning, delta.get("reasoning"))
        self._say(_TEXT, delta.get("content"), logprobs)
        for annotation in _citations(delta.get("annotations")):
            self._annotate(annotation)
        self._say(_REFUSAL, delta.get("refusal"))
        for place, call in enumerate(delta.get("tool_calls") or ()):
            self._hear(call, place)

    def close(self, *, is_whole: bool = True) -> None:
        """Close what is open. What the model said last is incomplete if it was cut off there."""
        for call in self._unnamed:
            self._open_call(call)
        for item in self._items:
            if item.status == "in_progress":
                is_cut = not is_whole and item is self._items[-1]
                self._close(item, "incomplete" if is_cut else "completed")

    def break_off(self) -> None:
        """Nothing more will come, and no event tells of it: what is open stays incomplete."""
        for item in self._items:
            if item.status == "in_progress":
                item.status = "incomplete"

    @property
    def waiting(self) -> int:
        """Bytes of arguments that no event has told yet."""
        return sum(call.waiting for call in self._all_calls)

    def items(self) -> list[dict]:
        return [item.as_dict() for item in self._items]

    # --- Reasoning and messages

    def _say(self, kind: _Kind, text: str | None, logprobs: Any = None) -> None:
        if not text:
            return
        speech = self._speech_of(kind)
        part = self._part_of(speech, kind)
        part.pieces.append(text)
        delta: dict = {"delta": text}
        if kind is _TEXT:
            delta["logprobs"] = list(_logprobs(logprobs))
            part.logprobs += delta["logprobs"]
        self._emit_of(part, speech, f"{kind.events}.delta", delta)

    def _annotate(self, annotation: dict) -> None:
        """Say of the open text what it cites."""
        speech = self._speech
        if speech is None or not speech.parts or speech.parts[-1].kind is not _TEXT:
            return
        part = speech.parts[-1]
        said = {"annotation": annotation, "annotation_index": len(part.annotations)}
        part.annotations.append(annotation)
        self._emit_of(part, speech, f"{_TEXT.events}.annotation.added", said)

    def _speech_of(self, kind: _Kind) -> _Speech:
        if self._speech is None or self._speech.kind != kind.item:
            self._fall_silent()
            self._speech = _Speech(kind.item)
            self._open(self._speech)
        return self._speech

    def _part_of(self, speech: _Speech, kind: _Kind) -> _Part:
        if speech.parts and speech.parts[-1].kind is kind:
            return speech.parts[-1]
        self._close_part(speech)
        part = _Part(kind, len(speech.parts))
        speech.parts.append(part)
        self._emit_of(part, speech, f"{kind.part_events}.added", {"part": part.as_dict()})
        return part

    def _close_part(self, speech: _Speech) -> None:
        if not speech.parts:
            return
        part = speech.parts[-1]
        whole = part.as_dict()
        said = {part.kind.member: whole[part.kind.member]}
        if part.kind is _TEXT:
            said["logprobs"] = part.logprobs
        self._emit_of(part, speech, f"{part.kind.events}.done", said)
        self._emit_of(part, speech, f"{part.kind.part_events}.done", {"part": whole})

    def _emit_of(self, part: _Part, speech: _Speech, event: str, said: dict) -> None:
        self._emit(event, {**speech.place(), f"{part.kind.place}_index": part.index, **said})

    def _fall_silent(self) -> None:
        if self._speech is not None:
            self._close(self._speech, "completed")

    # --- Calls

    def _hear(self, call: dict, place: int) -> None:
        call_id = call.get("id") or ""
        name, arguments = name_and_arguments(call)
        place = call["index"] if type(call.get("index")) is int else place
        known = self._calls.get(place)
        # Some providers give every call the same index; then it is told by its id and name.
        if known is None or (known.is_open and call_id and name and call_id != known.given_id):
            known = self._calls[place] = _Call()
            self._unnamed.append(known)
            self._all_calls.append(known)
        if known.is_open:
            self._argue(known, arguments)
            return
        known.given_id = known.given_id or call_id
        known.name = name
        known.pieces.append(arguments)
        known.waiting += size_of(arguments)
        if name:
            self._unnamed.remove(known)
            self._open_call(known)

    def _open_call(self, call: _Call) -> None:
        self._fall_silent()
        call.call_id = call.given_id
        if not call.call_id or call.call_id in self._call_ids:
            call.call_id = f"call_{self._suffix}_{len(self._items)}"
        self._call_ids.add(call.call_id)
        call.tool = self._tools.get(call.name)
        call.waiting = 0
        arguments, call.pieces, call.is_open = call.arguments, [], True
        self._open(call)
        self._argue(call, arguments)

    def _argue(self, call: _Call, arguments: str) -> None:
        if arguments:
            call.pieces.append(arguments)
            if call.is_custom or call.of_caller:
                call.waiting += size_of(arguments)
                return
            event = call.place() | {"delta": arguments}
            self._emit("response.function_call_arguments.delta", event)

    def _tell(self, call: _Call) -> None:
        call.input, call.waiting = told_by(call.arguments), 0
        event = "response.custom_tool_call_input"
        if call.input:
            self._emit(f"{event}.delta", call.place() | {"delta": call.input})
        self._emit(f"{event}.done", call.place() | {"input": call.input})

    # --- Both

    def _open(self, item: _Speech | _Call) -> None:
        item.index = len(self._items)
        item.id = f"{item.prefix}_{self._suffix}_{item.index}"
        self._items.append(item)
        event = {"output_index": item.index, "item": item.as_dict()}
        self._emit("response.output_item.added", event)

    def _close(self, item: _Speech | _Call, status: str) -> None:
        if isinstance(item, _Speech):
            self._close_part(item)
            self._speech = None
            if item.kind == "reasoning" and self._seal is not None:
                item.sealed = self._seal.close(item.text)
        elif item.is_custom:
            self._tell(item)
        elif item.of_caller:
            item.waiting = 0
        else:
            if status == "completed" and not item.arguments.strip():
                self._argue(item, "{}")  # What clients read of it has to be JSON.
            said = item.place() | {"name": item.own_name, "arguments": item.arguments}
            self._emit("response.function_call_arguments.done", said)
        item.status = status
        event = {"output_index": item.index, "item": item.as_dict()}
        self._emit("response.output_item.done", event)


def _citations(given: Any) -> Iterator[dict]:
    """Chat's annotations that cite a page, as far as they are what they should be."""
    for one in given if isinstance(given, list) else ():
        cited = one.get("url_citation") if isinstance(one, dict) else None
        if isinstance(cited, dict) and isinstance(cited.get("url"), str):
            yield {
                "type": "url_citation",
                "url": cited["url"],
                "title": title if isinstance(title := cited.get("title"), str) else "",
                "start_index": _place(cited.get("start_index")),
                "end_index": _place(cited.get("end_index")),
            }


def _place(given: Any) -> int:
    return given if type(given) is int else 0


def _logprobs(given: Any) -> Iterator[dict]:
    """Chat's `logprobs` of a choice, as far as they are what they should be."""
    for entry in _entries(given.get("content") if isinstance(given, dict) else None):
        ranked = [_logprob(other) for other in _entries(entry.get("top_logprobs"))]
        yield _logprob(entry) | {"top_logprobs": ranked}


def _entries(given: Any) -> list[dict]:
    return [
        entry
        for entry in (given if isinstance(given, list) else ())
        if isinstance(entry, dict)
        and isinstance(entry.get("token"), str)
        and type(entry.get("logprob")) in (int, float)
    ]


def _logprob(entry: dict) -> dict:
    given = entry.get("bytes")
    is_bytes = isinstance(given, list) and all(type(one) is int for one in given)
    return {
        "token": entry["token"],
        "logprob": entry["logprob"],
        "bytes": given if is_bytes else list(entry["token"].encode()),
    }
