"""Limits a conversation to the length that the gateway accepts.

Beyond it the gateway would refuse each reply, while the messages went on filling pages and memory.
"""

import uuid
from collections.abc import Collection

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce, Length

from chat.errors import NotAllowed
from chat.models import Conversation

BYTES = Coalesce(Length("text"), 0) + Coalesce(Length("images"), 0)
ALL_BYTES = BYTES + Coalesce(Length("reasoning"), 0) + Coalesce(Length("error_text"), 0)


def check(conversation: Conversation, branch: Collection[uuid.UUID], more_bytes: int) -> None:
    """Raise NotAllowed if `branch` with `more_bytes` more would be too long."""
    rows = conversation.messages.filter(id__in=branch)
    if bytes_of(rows) + more_bytes > settings.MAX_BODY_BYTES:
        raise NotAllowed("This conversation is too long to go on. Begin another.")


def bytes_of(rows: QuerySet) -> int:
    return rows.aggregate(sum=Sum(BYTES))["sum"] or 0
