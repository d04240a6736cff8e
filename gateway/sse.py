"""Server-sent events, read at whatever borders the bytes arrive, and written.

Grammar: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
Only `data` matters to the chat protocols; comments and the other fields are swallowed.
"""

MAX_EVENT_BYTES = 1_000_000

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
        text = self._rest + received if self._rest else received
        if not self._begun and text:
            if b"\xef\xbb\xbf".startswith(text[:3]) and len(text) < 3:
                self._rest = text
                return []
            text = text.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
        if b"\r" in text:
            # A CR at the very end may be the first half of a CRLF: it waits.
            tail = b"\r" if text.endswith(b"\r") else b""
            text = text[: len(text) - len(tail)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *lines, self._rest = text.split(b"\n")
            self._rest += tail
        else:
            *lines, self._rest = text.split(b"\n")
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLarge
        return self._events(lines)

    def finish(self) -> list[bytes]:
        """What stands there at the end of the stream without its blank line."""
        return self._events([self._rest.rstrip(b"\r"), b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                data = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(data)
                self._size += len(data)
                if self._size > MAX_EVENT_BYTES:
                    raise EventTooLarge
            elif line == b"data":
                self._data.append(b"")
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._size = 0
        return events


def event(data: bytes) -> bytes:
    """One event whose data holds no line break, which JSON never does."""
    return b"data: " + data + b"\n\n"
