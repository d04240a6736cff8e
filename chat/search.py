"""Search in a person's own conversations: by decrypting them, since no plain index exists."""

import dataclasses
import uuid

from accounts.models import User

MAX_HITS = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """`before`, `match` and `after` are the place in clear; `message_id` is None in a title."""

    conversation_id: uuid.UUID
    message_id: uuid.UUID | None
    title: str
    before: str
    match: str
    after: str


def search(user: User, *, text: str) -> list[Hit]:
    """Where `text` stands, in any case: titles first, then messages, the newest first."""
    raise NotImplementedError
