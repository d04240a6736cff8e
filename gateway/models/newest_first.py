"""Requests of an account, the newest first, a page at a time, where a range of time is asked for.

By time and then by id, as the index of account and time goes: so the thousandth page costs what
the first does. By id alone the database would sort all rows of the range for each.
"""

import datetime as dt
import uuid

from django.db.models import Q, QuerySet

ORDER = ("-created_at", "-id")


def older(rows: QuerySet, at: dt.datetime, id: uuid.UUID) -> QuerySet:
    """Those of `rows` that come after the one with this `created_at` and id."""
    rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=id))
    return rows.filter(created_at__lte=at)  # The index can be entered by this.
