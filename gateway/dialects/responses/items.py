"""The output items of a response, and the members of their parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.dialects.responses.caller_tools import CallerTool
from gateway.dialects.responses.tools import Tool


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of text: the item that holds it, its part there, the member with the text itself."""

    item: str
    part: str
    member: str
    events: str
    part_events: str = "response.content_part"
    place: str = "content"


REASONING = Kind("reasoning", "reasoning_text", "text", "response.reasoning_text")
SUMMARY = Kind(
    "reasoning",
    "summary_text",
    "text",
    "response.reasoning_summary_text",
    "response.reasoning_summary_part",
    "summary",
)
TEXT = Kind("message", "output_text", "text", "response.output_text")
REFUSAL = Kind("message", "refusal", "refusal", "response.refusal")


class Part:
    def __init__(self, kind: Kind, index: int):
        self.kind = kind
        self.index = index
        self.pieces: list[str] = []
        self.logprobs: list[dict] = []
        self.annotations: list[dict] = []

    def as_dict(self) -> dict:
        part: dict = {"type": self.kind.part, self.kind.member: "".join(self.pieces)}
        if self.kind is TEXT:
            part |= {"annotations": [*self.annotations], "logprobs": self.logprobs}
        return part


class Item:
    """One output item. It is `in_progress` until it is closed."""

    index: int
    id: str
    status = "in_progress"

    def place(self) -> dict:
        return {"item_id": self.id, "output_index": self.index}


class Speech(Item):
    """A reasoning item or a message: texts, one after the other."""

    def __init__(self, kind: str):
        self.kind = kind
        self.prefix = "rs" if kind == "reasoning" else "msg"
        self.parts: list[Part] = []
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


class Call(Item):
    """A call of a function, or of a tool of another kind: its input is sent once it is whole.

    `name` is the tool's name in chat, `own_name` the one in the caller's request.
    """

    is_open = False
    name = ""
    tool: Tool | None = None
    input = ""
    waiting = 0  # bytes of arguments that are in no event yet

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
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


# --- Citations and logprobs, which providers may send in odd shapes


def citations(given: Any) -> Iterator[dict]:
    """Yield chat's annotations that cite a page. Invalid ones are left out."""
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


def logprobs(given: Any) -> Iterator[dict]:
    """Yield chat's `logprobs` of a choice. Invalid entries are left out."""
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
