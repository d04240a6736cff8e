"""An answer that grows, as its follower sees it."""

from chat.growing import Growing, Update
from gateway.untrusted.code import highlight


class Streaming:
    def __init__(self) -> None:
        self._growing = Growing()

    def update(self, text: str) -> Update:
        """The news, given the whole answer so far."""
        grown = self._growing.parse(text)
        return self._growing.update(grown, highlight(grown.codes))
