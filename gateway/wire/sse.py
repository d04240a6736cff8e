"""Server-sent events, read at whatever borders the bytes arrive, and written.

Grammar: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
Only `data` matters to the chat protocols; comments and the other fields are swallowed.
"""

MAX_EVENT_BYTES = 1_000_000
BOM = b"\xef\xbb\xbf"

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


class EventTooLarge(Exception):
    """One event grew beyond 1 MB: no provider means that."""


class EventParser:
    """Takes bytes, gives the data of each event that is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False

    def feed(self, received: bytes) -> list[bytes]:
        """The events that `received` completes. Raises EventTooLarge."""
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
        """Whether it is one event and nothing else, as most packets are: then there's no need to
        go through it line by line.
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
        """What stands there at the end of the stream without its blank line."""
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
    """The lines of `text`, which end with CR, LF or CRLF; the last one is unfinished."""
    if b"\r" not in text:
        return text.split(b"\n")
    # A CR at the very end may be the first half of a CRLF: it waits.
    tail = b"\r" if text.endswith(b"\r") else b""
    text = text.removesuffix(tail).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, rest = text.split(b"\n")
    return [*lines, rest + tail]


def event(data: bytes) -> bytes:
    """One event whose data holds no line break, which JSON never does."""
    return b"data: " + data + b"\n\n"
