"""An import while it is being stored: none of it is shown before all of it is there.

Until then its conversations are `part_of` it, and whoever reads a person's chats finds none of
them. It counts as a whole from its beginning, so that nothing else takes its room. What a process
that dies leaves behind is never shown, and a job takes it back.
"""

import datetime as dt

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from chat import quota
from chat.errors import ImportRefused
from chat.models import Conversation, Import
from gateway.log import content

LONGEST = dt.timedelta(minutes=10)  # that storing takes; it is a matter of seconds


def begin(user: User, *, rows: int, size: int) -> Import:
    """Of so many rows and bytes. Raises ChatsFull."""
    with transaction.atomic():
        quota.check(user.id, more_rows=rows, more_bytes=size)
        return Import.objects.create(user=user, bytes=quota.counted(rows, size))


def finish(one: Import) -> None:
    """All of it is stored: show it. Raises ImportRefused if it was taken back meanwhile."""
    with transaction.atomic():
        quota.lock(one.user_id)
        Conversation.objects.filter(part_of=one).update(part_of=None)
        rows, _ = Import.objects.filter(pk=one.pk).delete()
    if not rows:
        raise ImportRefused("This took too long, and nothing of it is stored. Try again.")


def take_back(one: Import) -> None:
    """Delete what there is of it. Safe to repeat: what is whole by then stays."""
    with transaction.atomic():
        quota.lock(one.user_id)
        Import.objects.filter(pk=one.pk).delete()  # With its conversations, if any are left.
    content.leave_no_trace(connection)


def take_back_abandoned(*, now: dt.datetime | None = None) -> int:
    """What dead processes left. Returns how many imports that were. Safe to run twice."""
    begun_before = (now or timezone.now()) - LONGEST
    abandoned = list(Import.objects.filter(created_at__lt=begun_before))
    for one in abandoned:
        take_back(one)
    return len(abandoned)
