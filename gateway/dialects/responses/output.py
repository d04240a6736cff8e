"""The output items of a response, built from a chat answer as it comes.

A whole answer is a single delta here, so a stream ends with what the same answer gives in one
piece. Reasoning and messages are open one at a time, in the order in which they come. Calls stay
open until the end, because the arguments of parallel calls may come in turns.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.dialects.chat.answer import name_and_arguments
from gateway.dialects.chat.custom_tools import input_in
from gateway.dialects.chat.messages import size_of
from gateway.dialects.responses.items import (
    REASONING,
    REFUSAL,
    SUMMARY,
    TEXT,
    Call,
    Kind,
    Part,
    Speech,
    citations,
    logprobs,
)
from gateway.dialects.responses.seal import Seal
from gateway.dialects.responses.tools import Tool

Emit = Callable[[str, dict], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wishes of a request about its output.

    `tools` are the tools that the model was offered, by their names in chat. With `summary` the
    thoughts are shown as a summary of themselves. With a `seal` they are given sealed too.
    """

    tools: Mapping[str, Tool]
    summary: bool = False
    seal: Seal | None = None


class Output:
    """Takes the mended deltas of one answer, emits its events, and has its items in the end.

    `emit` gets the name and the members of each event. `suffix` makes the ids of the items.
    """

    def __init__(self, suffix: str, emit: Emit, wanted: Wanted):
        self._tools = wanted.tools
        self._reasoning = SUMMARY if wanted.summary else REASONING
        self._seal = wanted.seal
        self._suffix = suffix
        self._emit = emit
        self._items: list[Speech | Call] = []
        self._speech: Speech | None = None
        self._calls: list[Call] = []  # by their index in the chat answer

    def add(self, delta: dict, given_logprobs: Any = None) -> None:
        """Take in a delta of a chat answer, or its whole message."""
        self._say(self._reasoning, delta.get("reasoning"))
        self._say(TEXT, delta.get("content"), given_logprobs)
        for annotation in citations(delta.get("annotations")):
            self._annotate(annotation)
        self._say(REFUSAL, delta.get("refusal"))
        for call in delta.get("tool_calls") or ():
            self._hear(call)

    def close(self, *, is_whole: bool = True) -> None:
        """Close what is open. If the answer was cut off, the last item is incomplete."""
        for call in self._calls:
            if not call.is_open:
                self._open_call(call)
        for item in self._items:
            if item.status == "in_progress":
                is_cut = not is_whole and item is self._items[-1]
                self._close(item, "incomplete" if is_cut else "completed")

    def break_off(self) -> None:
        """Leave open items incomplete without an event, because the answer failed."""
        for item in self._items:
            if item.status == "in_progress":
                item.status = "incomplete"

    @property
    def waiting(self) -> int:
        """The bytes of arguments that are in no event yet."""
        return sum(call.waiting for call in self._calls)

    def items(self) -> list[dict]:
        return [item.as_dict() for item in self._items]

    # --- Reasoning and messages

    def _say(self, kind: Kind, text: str | None, given_logprobs: Any = None) -> None:
        if not text:
            return
        speech = self._speech_of(kind)
        part = self._part_of(speech, kind)
        part.pieces.append(text)
        delta: dict = {"delta": text}
        if kind is TEXT:
            delta["logprobs"] = list(logprobs(given_logprobs))
            part.logprobs += delta["logprobs"]
        self._emit_of(part, speech, f"{kind.events}.delta", delta)

    def _annotate(self, annotation: dict) -> None:
        """Add a citation to the open text."""
        speech = self._speech
        if speech is None or not speech.parts or speech.parts[-1].kind is not TEXT:
            return
        part = speech.parts[-1]
        said = {"annotation": annotation, "annotation_index": len(part.annotations)}
        part.annotations.append(annotation)
        self._emit_of(part, speech, f"{TEXT.events}.annotation.added", said)

    def _speech_of(self, kind: Kind) -> Speech:
        if self._speech is None or self._speech.kind != kind.item:
            self._fall_silent()
            self._speech = Speech(kind.item)
            self._open(self._speech)
        return self._speech

    def _part_of(self, speech: Speech, kind: Kind) -> Part:
        if speech.parts and speech.parts[-1].kind is kind:
            return speech.parts[-1]
        self._close_part(speech)
        part = Part(kind, len(speech.parts))
        speech.parts.append(part)
        self._emit_of(part, speech, f"{kind.part_events}.added", {"part": part.as_dict()})
        return part

    def _close_part(self, speech: Speech) -> None:
        if not speech.parts:
            return
        part = speech.parts[-1]
        whole = part.as_dict()
        said = {part.kind.member: whole[part.kind.member]}
        if part.kind is TEXT:
            said["logprobs"] = part.logprobs
        self._emit_of(part, speech, f"{part.kind.events}.done", said)
        self._emit_of(part, speech, f"{part.kind.part_events}.done", {"part": whole})

    def _emit_of(self, part: Part, speech: Speech, event: str, said: dict) -> None:
        self._emit(event, {**speech.place(), f"{part.kind.place}_index": part.index, **said})

    def _fall_silent(self) -> None:
        if self._speech is not None:
            self._close(self._speech, "completed")

    # --- Calls

    def _hear(self, fragment: dict) -> None:
        """Take in a call, or a fragment of one. The first fragment of each brings its id."""
        index = fragment["index"]
        if index == len(self._calls):
            self._calls.append(Call(fragment["id"]))
        call = self._calls[index]
        name, arguments = name_and_arguments(fragment)
        if call.is_open:
            self._argue(call, arguments)
            return
        call.name = name
        call.pieces.append(arguments)
        call.waiting += size_of(arguments)
        if name:
            self._open_call(call)

    def _open_call(self, call: Call) -> None:
        self._fall_silent()
        call.tool = self._tools.get(call.name)
        call.waiting = 0
        arguments, call.pieces, call.is_open = call.arguments, [], True
        self._open(call)
        self._argue(call, arguments)

    def _argue(self, call: Call, arguments: str) -> None:
        if arguments:
            call.pieces.append(arguments)
            if call.is_custom or call.of_caller:
                call.waiting += size_of(arguments)
                return
            event = call.place() | {"delta": arguments}
            self._emit("response.function_call_arguments.delta", event)

    def _give_input(self, call: Call) -> None:
        call.input, call.waiting = input_in(call.arguments), 0
        event = "response.custom_tool_call_input"
        if call.input:
            self._emit(f"{event}.delta", call.place() | {"delta": call.input})
        self._emit(f"{event}.done", call.place() | {"input": call.input})

    def _give_arguments(self, call: Call, status: str) -> None:
        # The provider named no reason for the end, or cut off a later call: mending adds nothing.
        if status == "completed" and not call.arguments.strip():
            self._argue(call, "{}")  # Clients read it as JSON.
        said = call.place() | {"name": call.own_name, "arguments": call.arguments}
        self._emit("response.function_call_arguments.done", said)

    # --- Both

    def _open(self, item: Speech | Call) -> None:
        item.index = len(self._items)
        item.id = f"{item.prefix}_{self._suffix}_{item.index}"
        self._items.append(item)
        event = {"output_index": item.index, "item": item.as_dict()}
        self._emit("response.output_item.added", event)

    def _close(self, item: Speech | Call, status: str) -> None:
        if isinstance(item, Speech):
            self._close_speech(item)
        elif item.is_custom:
            self._give_input(item)
        elif item.of_caller:
            item.waiting = 0
        else:
            self._give_arguments(item, status)
        item.status = status
        event = {"output_index": item.index, "item": item.as_dict()}
        self._emit("response.output_item.done", event)

    def _close_speech(self, speech: Speech) -> None:
        self._close_part(speech)
        self._speech = None
        if speech.kind == "reasoning" and self._seal is not None:
            speech.sealed = self._seal.close(speech.text)
