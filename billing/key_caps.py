"""Sets the spend caps of keys and reads what keys have spent.

Caps change under the lock of the account, like the sums beside them, so a request that is reserved
at the same time is checked against either the old caps or the new ones.
"""

import datetime as dt

from django.db import transaction

from accounts.models import ApiKey
from billing.accounts import open_account
from billing.key_spend import PERIODS, KeySheet, period_starts
from billing.models import CreditAccount, KeySpend

CAPS = ("total", *PERIODS)


def set_caps(key: ApiKey, caps: dict[str, int | None]) -> None:
    """Set the caps of `key` that `caps` names, in nano-dollars; None lifts a cap.

    Raises ValueError for a cap that is negative or doesn't exist.
    """
    for period, cap in caps.items():
        if period not in CAPS or (cap is not None and cap < 0):
            raise ValueError(f"not a cap: {period} of {cap}")
    if not caps:
        return
    columns = {f"{period}_cap_nano": cap for period, cap in caps.items()}
    account = open_account(key.user)
    with transaction.atomic():
        CreditAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        if not KeySpend.objects.filter(key=key).update(**columns):
            KeySpend.objects.create(key=key, **period_starts(_today()), **columns)


def caps_of(key: ApiKey) -> dict[str, int | None]:
    """Return the caps of `key`, in the form that `set_caps` takes."""
    return dict(sheet_of(key).caps)


def sheet_of(key: ApiKey) -> KeySheet:
    """Return the caps of `key` and its spend in the current periods."""
    row: KeySpend | None = getattr(key, "spend", None)
    if row is None:
        return KeySheet.fresh(_today())
    sheet = KeySheet(
        held=row.held_nano,
        spent={period: getattr(row, f"{period}_nano") for period in CAPS},
        starts={period: getattr(row, period) for period in PERIODS},
        caps={period: getattr(row, f"{period}_cap_nano") for period in CAPS},
    )
    sheet.roll(_today(), _today())
    return sheet


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
