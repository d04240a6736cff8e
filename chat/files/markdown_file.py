r"""Conversations as Markdown: the branch that each shows.

    # Title

    Model: llama-3.1-8b

    ## System

    ## User

    ## Assistant

A line of text that looks like one of these marks gets a backslash, which Markdown hides and the
reader removes. Only the JSON file has reasoning, other branches, and empty lines around a text.
"""

import io
import re
from collections.abc import Iterable, Iterator

from chat.errors import ImportRefused
from chat.files import portable
from chat.files.portable import Outgoing, Portable, PortableMessage
from chat.messages import LONGEST_IMAGE, MAX_IMAGES, MAX_TEXT

NEXT = "<!-- next conversation -->"
_MARK = re.compile(
    r"""(?P<escape>\\*)(
        \#\#\ (?P<role>System|User|Assistant)\s*
      | (?P<next><!--\ next\ conversation\ -->)\s*
      | !\[\]\((?P<image>data:image/[^)]*)\)\s*
    )""",
    re.VERBOSE,
)
_MODEL = "Model: "
_LONGEST_LINE = LONGEST_IMAGE + 100  # characters; a longer one is too long for a text, too
_ROOM = 1_000  # for empty lines around a text


def write(conversations: Iterable[Outgoing]) -> Iterator[bytes]:
    """Yield the file part by part."""
    for index, (one, shown) in enumerate(conversations):
        if index:
            yield f"\n{NEXT}\n\n".encode()
        yield _head(one).encode()
        for said in shown:
            yield _message(said).encode()


def _head(one: Portable) -> str:
    head = f"# {one.title}\n\n{_MODEL}{one.model}\n"
    return f"{head}\n## System\n\n{_escaped(one.system_prompt)}\n" if one.system_prompt else head


def _message(said: PortableMessage) -> str:
    images = "".join(f"\n![]({url})\n" for url in said.images)
    return f"\n## {said.role.title()}\n\n{_escaped(said.text)}\n{images}"


def _escaped(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(f"\\{line}" if _MARK.fullmatch(line) else line for line in lines)


def read(content: bytes) -> list[Portable]:
    """Return the conversations of a file. Raises ImportRefused."""
    reader = _Reader()
    try:
        # Line by line, because a list of all lines could take many times the memory of the file.
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="\n") as lines:
            while line := lines.readline(_LONGEST_LINE):
                reader.take(line.removesuffix("\n"))
    except UnicodeDecodeError:
        raise ImportRefused("This file is not UTF-8.") from None
    reader.end_text()
    return [one for one in reader.conversations if one.messages or one.system_prompt]


class _Reader:
    """Takes the lines of a file. `_role` is the author of the present text, empty in the head."""

    def __init__(self) -> None:
        self.conversations = [Portable()]
        self._role = ""
        self._lines: list[str] = []
        self._images: list[str] = []
        self._held = 0  # characters of the present text
        self._messages = 0

    def take(self, line: str) -> None:
        mark = _MARK.fullmatch(line)
        if mark is None or mark["escape"]:
            self._hold(line if mark is None else line[1:])
        elif mark["image"]:
            self._images.append(mark["image"])
            if len(self._images) > MAX_IMAGES:
                raise ImportRefused(f"A message has at most {MAX_IMAGES} images.")
        else:
            self.end_text()
            self._role = (mark["role"] or "").lower()
            self._count(mark)
            if mark["next"]:
                self.conversations.append(Portable())

    def _hold(self, line: str) -> None:
        self._lines.append(line)
        self._held += len(line) + 1
        if self._held > MAX_TEXT + _ROOM:
            raise ImportRefused(f"A message has at most {MAX_TEXT:,} characters.")

    def _count(self, mark: re.Match) -> None:
        self._messages += self._role in ("user", "assistant")
        portable.check_counts(len(self.conversations) + bool(mark["next"]), self._messages)

    def end_text(self) -> None:
        """Give the collected text to the role that wrote it."""
        one, text = self.conversations[-1], "\n".join(self._lines).strip("\r\n")
        if self._images and self._role != "user":
            raise ImportRefused("There is an image outside of your messages.")
        if not self._role:
            self._end_head(one)
        elif self._role == "system":
            one.system_prompt = text
        else:
            parent = len(one.messages) - 1 if one.messages else None
            said = PortableMessage(self._role, text, parent, images=self._images)
            one.messages.append(said)
            one.leaf = len(one.messages) - 1
        self._lines, self._images, self._held = [], [], 0

    def _end_head(self, one: Portable) -> None:
        for line in self._lines:
            if line.startswith("# ") and not one.title:
                one.title = line.removeprefix("# ")
            elif line.startswith(_MODEL) and not one.model:
                one.model = line.removeprefix(_MODEL)
