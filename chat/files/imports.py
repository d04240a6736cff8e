"""Imports that are being stored: nothing of a file is shown before all of it is there.

Until then its conversations are `part_of` the import, and no list or search finds them. From its
beginning it counts with its whole size, so that nothing else takes its room. A process that dies
leaves a part that is never shown, and a job deletes it.
"""

import datetime as dt

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from chat import quota
from chat.errors import ImportRefused
from chat.models import Conversation, Import
from gateway.log import content

LONGEST = dt.timedelta(minutes=10)  # that storing may take; it usually takes seconds


def begin(user: User, *, rows: int, size: int) -> Import:
    """Record an import and reserve room for so many rows and bytes. Raises ChatsFull."""
    with transaction.atomic():
        quota.check(user.id, more_rows=rows, more_bytes=size)
        return Import.objects.create(user=user, bytes=quota.counted(rows, size))


def finish(one: Import) -> None:
    """Show the import, now that all is stored. Raises ImportRefused if it was deleted meanwhile."""
    with transaction.atomic():
        quota.lock(one.user_id)
        Conversation.objects.filter(part_of=one).update(part_of=None)
        rows, _ = Import.objects.filter(pk=one.pk).delete()
    if not rows:
        raise ImportRefused("This took too long, and nothing of it is stored. Try again.")


def take_back(one: Import) -> None:
    """Delete what an import has stored so far. Safe to repeat: a finished import stays."""
    with transaction.atomic():
        quota.lock(one.user_id)
        Import.objects.filter(pk=one.pk).delete()  # Cascades to its conversations, if any are left.
    content.leave_no_trace(connection)


def take_back_abandoned(*, now: dt.datetime | None = None) -> int:
    """Delete the imports of dead processes. Returns how many. Safe to run twice."""
    begun_before = (now or timezone.now()) - LONGEST
    abandoned = list(Import.objects.filter(created_at__lt=begun_before))
    for one in abandoned:
        take_back(one)
    return len(abandoned)
