"""A conversation outside of the database, between its rows and a file."""

import dataclasses
import datetime as dt
from collections.abc import Iterable

from django.utils import timezone

from chat.errors import ImportRefused

MAX_FILE_BYTES = 20_000_000
TOO_LARGE = f"This file is too large: at most {MAX_FILE_BYTES / 1e6:.0f} MB."
MAX_CONVERSATIONS = 1_000  # in one file
MAX_MESSAGES = 20_000


@dataclasses.dataclass(slots=True)
class PortableMessage:
    """`parent` is the index of the message that it follows; None begins a branch."""

    role: str
    text: str
    parent: int | None
    reasoning: str = ""
    images: list[str] = dataclasses.field(default_factory=list)
    model: str = ""
    created_at: dt.datetime = dataclasses.field(default_factory=timezone.now)
    details: dict = dataclasses.field(default_factory=dict)  # Exported, never imported.


@dataclasses.dataclass(slots=True)
class Portable:
    """`leaf` is the index of the last message of the branch shown."""

    title: str = ""
    model: str = ""
    system_prompt: str = ""
    parameters: dict = dataclasses.field(default_factory=dict)
    is_pinned: bool = False
    is_archived: bool = False
    created_at: dt.datetime = dataclasses.field(default_factory=timezone.now)
    updated_at: dt.datetime = dataclasses.field(default_factory=timezone.now)
    messages: list[PortableMessage] = dataclasses.field(default_factory=list)
    leaf: int | None = None


# A conversation being exported: messages come one by one, and `leaf` is known after the last.
Outgoing = tuple[Portable, Iterable[PortableMessage]]


def check_found(conversations: list[Portable]) -> None:
    """Raise ImportRefused if there is nothing to import, or too much."""
    if not any(one.messages for one in conversations):
        raise ImportRefused("There is no message in this file.")
    check_counts(len(conversations), sum(len(one.messages) for one in conversations))


def check_counts(conversations: int, messages: int) -> None:
    if conversations > MAX_CONVERSATIONS:
        raise ImportRefused(f"This file has more than {MAX_CONVERSATIONS:,} conversations.")
    if messages > MAX_MESSAGES:
        raise ImportRefused(f"This file has more than {MAX_MESSAGES:,} messages.")
