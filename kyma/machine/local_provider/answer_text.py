"""From the bytes of tokens to text that may be shown."""

import codecs


class AnswerText:
    """Collects the bytes of an answer and hands out text that is final.

    What it hands out is valid Unicode, joined it is the answer, and no stop text is ever part of
    it: characters that may turn out to begin a stop text are held back until that is known.
    """

    def __init__(self, stops: tuple[str, ...]):
        self._stops = stops
        # Within the answer a model may produce bytes that are no UTF-8 at all: they become U+FFFD.
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
        """The text still held back. A character cut in half by the end of the answer is dropped."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text are the beginning of the stop text."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
