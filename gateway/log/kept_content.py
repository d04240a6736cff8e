"""What was said in a request, opened while it is retained."""

import datetime as dt
import logging
import uuid

from accounts.encryption import Cipher
from accounts.errors import SealBroken
from gateway.models import RequestContent

logger = logging.getLogger(__name__)


def row_of(request_id: uuid.UUID, account_id: uuid.UUID) -> RequestContent | None:
    """The sealed content of a request of this account, unless its time has come."""
    now = dt.datetime.now(dt.UTC)
    rows = RequestContent.objects.filter(pk=request_id, account_id=account_id, purge_at__gt=now)
    return rows.first()


def opened(row: RequestContent | None, cipher: Cipher) -> bytes | None:
    """The content in clear, as JSON; None where there is none or it is damaged."""
    if row is None:
        return None
    try:
        return cipher.open(row.sealed, row.place)
    except SealBroken as broken:
        logger.error("the content of request %s is damaged: %s", row.id, broken)
        return None
