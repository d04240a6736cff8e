"""Mails to the operator when providers' evidence ages (P7): at most one a day for each state."""

import datetime as dt
import logging
from smtplib import SMTPException

from django.conf import settings

from accounts import mails
from gateway.models import OperatorMail
from gateway.models.evidence import DueEvidence, EvidenceState, due

logger = logging.getLogger(__name__)

KEPT = dt.timedelta(days=30)  # the days on which mails were sent


def remind(today: dt.date) -> list[str]:
    """Mail the operator what is due, and return the states that a mail was sent about.

    Safe to repeat and to run twice at once. A mail that can't be sent waits for the next run.
    """
    if not settings.OPERATOR_EMAIL:
        return []
    OperatorMail.objects.filter(day__lt=today - KEPT).delete()
    found = due(today)
    return [
        state.value
        for state in EvidenceState
        if (of_state := [one for one in found if one.state is state])
        and _mail(state, of_state, today)
    ]


def _mail(state: EvidenceState, found: list[DueEvidence], today: dt.date) -> bool:
    claim, is_new = OperatorMail.objects.get_or_create(subject=f"evidence-{state}", day=today)
    if not is_new:
        return False
    facts = {"state": state, "due": found}
    try:
        mails.send("gateway/email/evidence", settings.OPERATOR_EMAIL, facts)
    except (SMTPException, OSError) as error:
        claim.delete()
        logger.warning("the mail about old evidence waits: %s", type(error).__name__)
        return False
    return True
