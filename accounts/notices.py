"""Mails about changes to an account: recorded with the change, sent by a job.

A notice is a row until it is sent, so none is lost with the broker, and the next job takes over
from one that dies. It is sealed under the person's key, because it holds addresses and the place
that the change came from.
"""

import datetime as dt
import json
import logging
import uuid
from smtplib import SMTPException

from django.db.models import Q
from django.utils import timezone

from accounts import mails
from accounts.errors import SealBroken
from accounts.ids import uuid7
from accounts.keyring import data_keys
from accounts.models import Notice, User

logger = logging.getLogger(__name__)

CLAIM = dt.timedelta(minutes=5)  # A job that takes longer is dead.
GIVE_UP = dt.timedelta(days=1)


def record(user: User, *, template: str, address: str, facts: dict[str, str]) -> Notice:
    """Leave a notice to `address`, which `user` may have given up since."""
    notice = Notice(id=uuid7(), user=user, template=template)
    plain = json.dumps({"address": address, "facts": facts}).encode()
    notice.sealed = data_keys.cipher_of(user.id).seal(plain, notice.place)
    notice.save()
    return notice


def waiting() -> list[uuid.UUID]:
    """Return the notices that no job is sending. Deletes those too old to be news."""
    Notice.objects.filter(created_at__lt=timezone.now() - GIVE_UP).delete()
    return list(_unclaimed().order_by("id").values_list("id", flat=True))


def send(notice_id: uuid.UUID | str) -> bool:
    """Send a notice unless another job does. If it can't be sent now, it waits for the next try."""
    if not _unclaimed().filter(pk=notice_id).update(claimed_at=timezone.now()):
        return False
    notice = Notice.objects.get(pk=notice_id)
    try:
        plain = json.loads(data_keys.cipher_of(notice.user_id).open(notice.sealed, notice.place))
    except SealBroken:  # The person was erased meanwhile.
        notice.delete()
        return False
    context = {**plain["facts"], "timestamp": notice.created_at}
    try:
        mails.send(notice.template, plain["address"], context)
    except (SMTPException, OSError) as error:
        logger.warning("notice %s waits: %s", notice.id, type(error).__name__)
        return False
    notice.delete()
    return True


def _unclaimed():
    unclaimed = Q(claimed_at=None) | Q(claimed_at__lt=timezone.now() - CLAIM)
    return Notice.objects.filter(unclaimed)
