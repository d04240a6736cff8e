"""The public object of a key, in OpenRouter's format, with Kyma's own rules added.

`hash` is the key's id in 32 hexadecimal digits; it grants no access. Dollars are exact decimal
numbers. `limit` is the cap that leaves the least to spend, and `caps` holds all caps.
"""

import datetime as dt

import orjson

from accounts.models import ApiKey
from billing.key_caps import CAPS, sheet_of
from billing.key_spend import KeySheet
from billing.tiers import TIERS
from gateway.keys.fields import RESETS
from gateway.wire.reply import usd_number

_RESET_OF = {period: reset for reset, period in RESETS.items()}


def key_object(key: ApiKey, *, tier: int, unlimited: bool) -> dict:
    sheet = sheet_of(key)
    account_rate = None if unlimited else TIERS[tier].requests
    rates = [rate for rate in (account_rate, key.requests_per_minute) if rate is not None]
    return {
        "hash": key.id.hex,
        "label": f"{key.start}…{key.end}",
        "name": key.name,
        **_limit(sheet),
        "usage": usd_number(sheet.spent["total"]),
        "usage_daily": usd_number(sheet.spent["day"]),
        "usage_weekly": usd_number(sheet.spent["week"]),
        "usage_monthly": usd_number(sheet.spent["month"]),
        "expires_at": _time(key.expires_at),
        "disabled": key.disabled_at is not None,
        "created_at": _time(key.created_at),
        "caps": {period: _usd(sheet.caps[period]) for period in CAPS},
        "allowed_models": key.allowed_models or None,
        "allowed_networks": key.allowed_networks or None,
        "requests_per_minute": key.requests_per_minute,
        "rate_limit": {"requests": min(rates, default=None), "interval": "1m"},
        "retention_days": key.retention_days,
        "is_management": key.is_management,
    }


def _limit(sheet: KeySheet) -> dict:
    """Return OpenRouter's single limit. Holds of running requests count as spent."""
    period = sheet.tightest
    if period is None or sheet.remaining is None:
        return {"limit": None, "limit_remaining": None, "limit_reset": None}
    return {
        "limit": _usd(sheet.caps[period]),
        "limit_remaining": usd_number(max(sheet.remaining, 0)),
        "limit_reset": _RESET_OF.get(period),
    }


def _usd(amount_nano: int | None) -> orjson.Fragment | None:
    return None if amount_nano is None else usd_number(amount_nano)


def _time(time: dt.datetime | None) -> str | None:
    return time.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if time else None
