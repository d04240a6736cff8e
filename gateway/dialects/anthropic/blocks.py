"""The content blocks of a streamed Message. Each gathers its deltas until its turn has come."""

import orjson

from gateway.dialects.anthropic.message import SIGNATURE, tool_input
from gateway.dialects.chat.answer import name_and_arguments
from gateway.dialects.chat.messages import size_of


class Speech:
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
        """Return the deltas that can be sent now."""
        piece, self._unsent = self._unsent, ""
        return [{"type": f"{self.kind}_delta", self.kind: piece}] if piece else []

    def last_deltas(self) -> list[dict]:
        """Return the deltas that are left before the block closes."""
        deltas = self.deltas()
        if self.kind == "thinking":
            deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        return deltas


class ToolUse:
    """A block for one tool call."""

    def __init__(self, call_id: str):
        self._id = call_id
        self._name = ""
        self._pieces: list[str] = []
        self._sent = 0  # pieces
        self._checked = 0  # the number of pieces when they were last found incomplete
        self.waiting = 0  # bytes of the name and the arguments

    def add(self, fragment: dict) -> None:
        name, arguments = name_and_arguments(fragment)
        self._name += name
        self.waiting += size_of(name) + size_of(arguments)
        if arguments and (self._pieces or arguments.strip()):
            self._pieces.append(arguments)

    def is_over(self) -> bool:
        """True when the arguments are a whole object, after which nothing can come."""
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
        return {"type": "tool_use", "id": self._id, "name": self._name, "input": {}}

    def deltas(self) -> list[dict]:
        """Return the new arguments, if all of them begin like an object."""
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
