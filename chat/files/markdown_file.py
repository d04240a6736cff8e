r"""Conversations as Markdown: the branch that each shows.

    # Title

    Model: llama-3.1-8b

    ## System

    ## User

    ## Assistant

A line of text that looks like one of these marks gets a backslash, which Markdown hides and the
reader removes. Only the JSON file has reasoning, other branches, and empty lines around a text.
"""

import re
from collections.abc import Iterable, Iterator

from chat.errors import ImportRefused
from chat.files.portable import Outgoing, Portable, PortableMessage

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
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ImportRefused("This file is not UTF-8.") from None
    reader = _Reader()
    for line in text.split("\n"):
        reader.take(line)
    reader.end_text()
    return [one for one in reader.conversations if one.messages or one.system_prompt]


class _Reader:
    """Takes the lines of a file. `_role` is the author of the present text, empty in the head."""

    def __init__(self) -> None:
        self.conversations = [Portable()]
        self._role = ""
        self._lines: list[str] = []
        self._images: list[str] = []

    def take(self, line: str) -> None:
        mark = _MARK.fullmatch(line)
        if mark is None:
            self._lines.append(line)
        elif mark["escape"]:
            self._lines.append(line[1:])
        elif mark["image"]:
            self._images.append(mark["image"])
        else:
            self.end_text()
            self._role = (mark["role"] or "").lower()
            if mark["next"]:
                self.conversations.append(Portable())

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
        self._lines, self._images = [], []

    def _end_head(self, one: Portable) -> None:
        for line in self._lines:
            if line.startswith("# ") and not one.title:
                one.title = line.removeprefix("# ")
            elif line.startswith(_MODEL) and not one.model:
                one.model = line.removeprefix(_MODEL)
