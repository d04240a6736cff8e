"""Limits how much chat each person can store, so that nobody fills the disk for all.

The limit is checked in the transaction that stores something. A reply that has begun is always
stored to its end.
"""

import uuid

from django.conf import settings
from django.db.models import Count, QuerySet, Sum
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Length

from accounts.models import User
from chat.errors import ChatsFull
from chat.length import ALL_BYTES
from chat.models import Conversation, Import, Message

ROW_BYTES = 4_000  # that each row counts in addition to its content
_HEAD_BYTES = Coalesce(Length("title"), 0) + Coalesce(Length("system_prompt"), 0)


def check(user_id: uuid.UUID, *, more_rows: int = 0, more_bytes: int = 0) -> None:
    """Raise ChatsFull if the person can't store so much more.

    Call it in the transaction that stores it. The lock keeps others from adding meanwhile.
    """
    lock(user_id)
    most = settings.CHAT_BYTES_PER_PERSON
    if used(user_id) + counted(more_rows, more_bytes) > most:
        raise ChatsFull(
            f"Your chats are full: at most {most / 1e6:,.0f} MB are stored of one person. Delete "
            "some under “All chats”, where you can export them first. Then try again."
        )


def lock(user_id: uuid.UUID) -> None:
    """Keep everybody else from adding to this person's chats until the transaction ends.

    Code that also locks a conversation must take this lock first, to avoid a deadlock.
    """
    # no_key, because every new row with a foreign key to the person would wait for a key lock.
    User.objects.select_for_update(no_key=True).only("pk").get(pk=user_id)


def used(user_id: uuid.UUID) -> int:
    """Return how many bytes the person has used, including running imports at their full size."""
    incoming = Import.objects.filter(user_id=user_id).aggregate(bytes=Sum("bytes"))
    conversations = Conversation.objects.filter(user_id=user_id, part_of=None)
    messages = Message.objects.filter(conversation__user_id=user_id, conversation__part_of=None)
    return (
        (incoming["bytes"] or 0)
        + _counted(conversations, _HEAD_BYTES)
        + _counted(messages, ALL_BYTES)
    )


def _counted(rows: QuerySet, size: Combinable) -> int:
    found = rows.aggregate(rows=Count("pk"), bytes=Sum(size))
    return counted(found["rows"], found["bytes"] or 0)


def counted(rows: int, size: int) -> int:
    """Return how many bytes so many rows count that hold `size` bytes."""
    return rows * ROW_BYTES + size
