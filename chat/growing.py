"""An answer as HTML while it grows.

Without link definitions, a top-level block means the same wherever it stands. So the finished
blocks are rendered once, and only the last block again and again:

    grown = growing.parse(text)                                  # the whole answer so far
    update = growing.update(grown, await highlight_soon(grown.codes))
"""

import re
from dataclasses import dataclass
from typing import cast

from markdown_it.token import Token

from chat import markdown
from chat.markdown import Parsed
from gateway.untrusted.code import Code, Highlighted, may_be_highlighted


@dataclass(frozen=True)
class Update:
    """The news about an answer since the last update: `closed` is new and final, `open` isn't."""

    closed: str
    open: str


@dataclass(frozen=True)
class Grown:
    closed: Parsed
    open: Parsed
    codes: list[Code]  # to be highlighted


class Growing:
    """An answer that grows. All `closed` together and the last `open` make the HTML of `render`.

    Once a block took too long to parse or to highlight, it isn't tried again while it is open.
    """

    def __init__(self) -> None:
        self._closed_to = 0
        self._is_slow = False
        self._has_slow_code = False

    def parse(self, text: str) -> Grown:
        """Parse the news. `text` is the whole answer so far."""
        rest = markdown.well_formed(text)[self._closed_to :]
        length = self._closed_length(rest)
        if length:
            self._closed_to += length
            self._has_slow_code = False
        closed = markdown.parse(rest[:length])
        still_open = markdown.parse(rest[length:], within_s=0 if self._is_slow else markdown.TEXT_S)
        codes = [*closed.codes, *([] if self._has_slow_code else still_open.codes)]
        return Grown(closed, still_open, codes)

    def update(self, grown: Grown, highlighted: Highlighted) -> Update:
        """Return the news as HTML, with the code that is highlighted by now."""
        wanted = filter(may_be_highlighted, grown.open.codes)
        self._has_slow_code = any(code not in highlighted for code in wanted)
        return Update(grown.closed.html(highlighted), grown.open.html(highlighted))

    def _closed_length(self, rest: str) -> int:
        if self._is_slow:
            return 0
        try:
            return _closed_length(rest)
        except markdown.TooLong:
            self._is_slow = True
            return 0


def _closed_length(text: str) -> int:
    """Return the length of the beginning of `text` that no further text can change.

    Only whole lines count: "2" is a paragraph until it becomes "2." and joins the list before it.
    """
    lines = text.split("\n")[:-1]
    blocks = [one for one in markdown.blocks("\n".join(lines)) if one.level == 0 and one.map]
    if not blocks:
        return 0
    is_finished = _is_finished(blocks[-1], lines)
    count = len(lines) if is_finished else cast(list[int], blocks[-1].map)[0]
    return sum(len(line) + 1 for line in lines[:count])


def _is_finished(last: Token, lines: list[str]) -> bool:
    """True when no further line can join the last block of `lines`. A list is never finished."""
    start, end = cast(list[int], last.map)
    if last.type in ("paragraph_open", "table_open"):
        return end < len(lines)  # A blank line ends the block.
    if last.type == "fence":
        closing = rf" {{0,3}}{re.escape(last.markup)}{re.escape(last.markup[0])}*[ \t]*"
        return end - start > 1 and bool(re.fullmatch(closing, lines[end - 1]))
    return last.type in ("heading_open", "hr")
