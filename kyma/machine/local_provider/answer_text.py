"""The conversion of tokens' bytes to text that may be shown."""

import codecs


class AnswerText:
    """A collector of an answer's bytes that hands out only final text.

    The text is valid Unicode, its pieces joined are the answer, and it never contains a stop text:
    characters that may begin a stop text are held back until that is known.
    """

    def __init__(self, stops: tuple[str, ...]):
        self._stops = stops
        # A model may produce bytes that aren't valid UTF-8: they become U+FFFD.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def feed(self, token: bytes) -> str:
        text = self._held + self._decoder.decode(token)
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return the text still held back. A character cut in half by the end is dropped."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of the text begin the stop text."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
