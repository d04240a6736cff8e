"""Answers as turns collect them, instead of writing them to a client."""

from gateway.dialects.apis import Dialect
from gateway.dialects.chat import request as chat_request
from gateway.errors import GatewayError


class Answer:
    """The stream of a completion. All that a turn has read counts as delivered, as it is stored."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._size = 0  # bytes of text and reasoning
        self.error: GatewayError | None = None

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def waiting(self) -> int:
        return 0

    @property
    def dialect(self) -> Dialect:
        """The chat API, with this answer in place of the stream to a client."""
        return Dialect(
            "chat",
            read=chat_request.parse,
            whole=lambda *_: {},  # Never called, because the answer is streamed.
            open=lambda _: (self, b""),
        )

    def feed(self, chunk: dict) -> bytes:
        said = b""
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            text = (delta.get("content") or "") + (delta.get("refusal") or "")
            reasoning = delta.get("reasoning") or ""
            self._text.append(text)
            self._reasoning.append(reasoning)
            said += (reasoning + text).encode()
        self._size += len(said)
        return said

    def ping(self) -> bytes:
        return b""

    def finish(self, usage: dict) -> bytes:
        return b""

    def fail(self, error: GatewayError) -> bytes:
        self.error = error
        return b""


class UnstoredAnswer(Answer):
    """A stream that nobody stores: it counts as delivered as far as its reader has taken it."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0

    @property
    def waiting(self) -> int:
        return self._size - self._taken

    def take(self, text: str, reasoning: str) -> None:
        """Note that the reader has this much of it."""
        self._taken = len(text.encode()) + len(reasoning.encode())
