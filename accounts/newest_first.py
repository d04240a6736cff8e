"""Rows of an account, the newest first, a page at a time.

By time and then by id, as the indexes of requests and ledger entries go: so the thousandth page
costs what the first does. By id alone the database would sort all of the account's rows for each.
"""

import datetime as dt
import uuid

from django.db.models import Q, QuerySet

ORDER = ("-created_at", "-id")


def older(rows: QuerySet, at: dt.datetime, id: uuid.UUID) -> QuerySet:
    """Those of `rows` that come after the one with this `created_at` and id."""
    rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=id))
    return rows.filter(created_at__lte=at)  # The index can be entered by this.
