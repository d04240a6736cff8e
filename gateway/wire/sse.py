"""Reading server-sent events from bytes that may be split anywhere, and writing them.

Grammar: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
Only `data` matters to the chat protocols; the parser drops comments and the other fields.
"""

MAX_EVENT_BYTES = 1_000_000
BOM = b"\xef\xbb\xbf"

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


class EventTooLarge(Exception):
    """One event grew beyond 1 MB, which no provider does on purpose."""


class EventParser:
    """Parser that takes bytes and returns the data of each complete event."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False

    def feed(self, received: bytes) -> list[bytes]:
        """Return the events that `received` completes. Raises EventTooLarge."""
        if self._stands_alone(received):
            return [received[6:-2]]
        text = self._rest + received if self._rest else received
        if not self._begun:
            if len(text) < len(BOM) and BOM.startswith(text):
                self._rest = text
                return []
            text = text.removeprefix(BOM)
            self._begun = True
        *lines, self._rest = _lines(text)
        events = self._events(lines)
        self._check_size(self._rest)
        return events

    def _stands_alone(self, received: bytes) -> bool:
        """True when `received` is exactly one event.

        Most packets are, and `feed` saves going through them line by line.
        """
        return (
            self._begun
            and not (self._rest or self._data)
            and received.startswith(b"data: ")
            and received.endswith(b"\n\n")
            and received.count(b"\n") == 2
            and b"\r" not in received
            and len(received) <= MAX_EVENT_BYTES
        )

    def finish(self) -> list[bytes]:
        """Return the last event if the stream ended without the blank line behind it."""
        return self._events([self._rest.removesuffix(b"\r"), b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for line in lines:
            self._check_size(line)
            if line.startswith(b"data:") or line == b"data":
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._size = 0
        return events

    def _check_size(self, line: bytes) -> None:
        if self._size + len(line.removesuffix(b"\r")) > MAX_EVENT_BYTES:
            raise EventTooLarge


def _lines(text: bytes) -> list[bytes]:
    """Split `text` at each CR, LF or CRLF; the last line of the result is unfinished."""
    if b"\r" not in text:
        return text.split(b"\n")
    # A CR at the very end may be the first half of a CRLF, so it stays in the unfinished line.
    tail = b"\r" if text.endswith(b"\r") else b""
    text = text.removesuffix(tail).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, rest = text.split(b"\n")
    return [*lines, rest + tail]


def event(data: bytes) -> bytes:
    """Return one event. `data` must hold no line break; compact JSON never does."""
    return b"data: " + data + b"\n\n"
