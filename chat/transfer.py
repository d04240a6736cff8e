"""Conversations as files: out as Markdown or JSON, in again from either."""

import uuid
from collections.abc import Sequence

from accounts.models import User
from chat.models import Conversation


def as_json(user: User, *, ids: Sequence[uuid.UUID] | None = None) -> bytes:
    """These conversations of `user`, or all, with every branch."""
    raise NotImplementedError


def as_markdown(user: User, *, ids: Sequence[uuid.UUID] | None = None) -> str:
    """These conversations of `user`, or all, each by the branch that it shows."""
    raise NotImplementedError


def import_file(user: User, *, content: bytes, model: str) -> list[Conversation]:
    """The conversations in a file of either kind, all of them or none. Raises ImportRefused.

    `model` is for those that name none.
    """
    raise NotImplementedError
