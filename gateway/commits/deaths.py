"""Finds out which web processes are dead, by looking at their beats (`leases.py`).

A look counts for a process at most once in LEASE_LOOK_GAP_S of the database's clock. So looks that
have piled up while the database was frozen, or in a backlog of jobs, count as one, and a process
has the time to beat before the next.
"""

import datetime as dt

from django.conf import settings
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Now

from billing.models import Hold
from gateway.models import WebProcess

MISSES = 3  # Looks without a new beat, after which a process is dead.
KEPT = dt.timedelta(days=1)  # The time for which a dead process's row is kept.


def look() -> int:
    """Look at each living process once. Returns how many are dead now that weren't before."""
    gap = dt.timedelta(seconds=settings.LEASE_LOOK_GAP_S)
    living = WebProcess.objects.filter(dead_at=None)
    living.filter(Q(looked_at=None) | Q(looked_at__lte=Now() - gap)).update(
        missed=Case(When(beat=F("seen"), then=F("missed") + 1), default=Value(0)),
        seen=F("beat"),
        looked_at=Now(),
    )
    return living.filter(missed__gte=MISSES, beat=F("seen")).update(dead_at=Now())


def is_dead(process_id: OuterRef) -> Exists:
    """Return the condition that the process of an outer row is dead."""
    return Exists(WebProcess.objects.filter(pk=process_id, dead_at__isnull=False))


def forget() -> None:
    """Delete the rows of processes that have long been dead and left no hold."""
    holds = Hold.objects.filter(process_id=OuterRef("pk"))
    WebProcess.objects.filter(~Exists(holds), dead_at__lt=Now() - KEPT).delete()
