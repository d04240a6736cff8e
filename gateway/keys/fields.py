"""The fields of a key in a body at /v1/keys: their checks, and the columns they are stored in.

Unknown fields are refused, so that a mistyped cap isn't silently dropped. Dollars are read from
the JSON text, never through a float. `null` lifts a rule. An empty list is refused: it reads like
"nothing", but would be stored as no rule, which means "everything".
"""

import dataclasses
import datetime as dt
import re
from collections.abc import Callable
from decimal import Context, Decimal, Inexact, InvalidOperation
from ipaddress import ip_network
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import RETENTION_CHOICES_DAYS, validate_networks
from billing.key_caps import CAPS
from billing.pricing import nano
from gateway.errors import InvalidRequest
from gateway.wire.checks import (
    Check,
    Mismatch,
    boolean,
    by_type,
    integer,
    list_of,
    matching,
    missing,
    one_of,
    schema_of,
    takes,
    text,
    unwanted,
)
from gateway.wire.schema import any_of, or_null

MAX_CAP_NANO = 10**15  # a million dollars
RESETS = {"daily": "day", "weekly": "week", "monthly": "month"}

_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])
_DECIMAL = r"[0-9]{1,7}(\.[0-9]{1,9})?"
_AMOUNT = "an amount of dollars from 0 to 1000000 with at most 9 decimals"


@dataclasses.dataclass(frozen=True, slots=True)
class KeyFields:
    """`columns` of ApiKey and `caps` in nano-dollars. A rule that is in neither stays as it is.

    `keeps_reset` is True when `limit` came without `limit_reset`.
    """

    columns: dict[str, Any]
    caps: dict[str, int | None]
    keeps_reset: bool = False

    def caps_of(self, limited: str | None) -> dict[str, int | None]:
        """Return the caps to set on a key whose present limit is for the period `limited`, or None.

        A new `limit` without `limit_reset` keeps that period.
        """
        if not self.keeps_reset or limited is None:
            return self.caps
        return dict.fromkeys(CAPS) | {limited: self.caps["total"]}


def parse(body: dict, *, new: bool) -> KeyFields:
    """Return the fields of a new key, or the fields to change. Raises InvalidRequest."""
    for name in body:
        if name not in CHECKS:
            known = ", ".join(CHECKS)
            raise InvalidRequest(
                f"`{name[:64]}` is not a field of a key. Its fields are: {known}.", param=name[:64]
            )
    if new and body.get("name") is None:
        raise missing(_name).under("name").as_error()
    for name, value in body.items():
        _check(name, value)
    columns = {
        column: stored(body[name]) for name, (column, stored) in _COLUMNS.items() if name in body
    }
    keeps_reset = "limit" in body and "limit_reset" not in body
    return KeyFields(columns, _caps(body), keeps_reset)


def _check(name: str, value: Any) -> None:
    if value is None and name not in NEVER_NULL:
        return
    try:
        CHECKS[name](value)
    except Mismatch as mismatch:
        raise mismatch.under(name).as_error() from None


# --- Checks --------------------------------------------------------------------------------------


@takes(
    any_of(
        [
            {"type": "number", "minimum": 0, "maximum": 1_000_000},
            {"type": "string", "pattern": f"^{_DECIMAL}$"},
        ]
    )
)
def _amount(value: Any) -> None:
    try:
        amount_nano = _nano(value)
    except (ValueError, Inexact, InvalidOperation):
        raise unwanted(_AMOUNT, value) from None
    if not 0 <= amount_nano <= MAX_CAP_NANO:
        raise unwanted(_AMOUNT, value)


def _nano(value: Any) -> int:
    """Return nano-dollars. Raises ValueError, Inexact or InvalidOperation if they aren't exact."""
    if type(value) is str and re.fullmatch(_DECIMAL, value):
        return nano(value)
    if type(value) is int:
        value = Decimal(value)
    if type(value) is not Decimal or value.copy_abs() > MAX_CAP_NANO:
        raise ValueError("not an amount")
    return int(_EXACT.to_integral_exact(_EXACT.scaleb(value, 9)))


@takes(
    {
        "type": "object",
        "properties": dict.fromkeys(CAPS, or_null(schema_of(_amount))),
        "additionalProperties": False,
    }
)
def _cap_table(value: Any) -> None:
    if type(value) is not dict:
        raise unwanted(f"an object with {', '.join(CAPS)}", value)
    for period, cap in value.items():
        if period not in CAPS:
            raise Mismatch(f"is not a cap: the caps are {', '.join(CAPS)}").under(period[:64])
        if cap is not None:
            try:
                _amount(cap)
            except Mismatch as mismatch:
                raise mismatch.under(period) from None


@takes({"type": "string", "format": "date-time"})
def _future(value: Any) -> None:
    wanted = 'a future time in ISO 8601 with its zone, such as "2030-01-31T12:00:00Z"'
    try:
        is_future = type(value) is str and _time(value) > timezone.now()
    except (ValueError, TypeError, OverflowError):
        is_future = False
    if not is_future:
        raise unwanted(wanted, value)


def _time(value: str) -> dt.datetime:
    """Return the time in UTC.

    Raises ValueError without a zone, OverflowError beyond the years that Python knows.
    """
    time = dt.datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("no zone")
    return time.astimezone(dt.UTC)


_texts = list_of(text(filled=True, most=64), filled=True, most=100)


@takes(schema_of(_texts))
def _networks(value: Any) -> None:
    _texts(value)
    for index, network in enumerate(value):
        try:
            validate_networks([network])
        except ValidationError:
            wanted = 'an IP address or network, such as "192.0.2.0/24"'
            raise unwanted(wanted, network).under(index) from None


@takes({"type": "integer", "enum": list(RETENTION_CHOICES_DAYS)})
def _retention(value: Any) -> None:
    if type(value) is not int or value not in RETENTION_CHOICES_DAYS:
        choices = ", ".join(map(str, RETENTION_CHOICES_DAYS))
        raise unwanted(f"one of {choices}", value)


def _line(most: int) -> Check:
    """Return a check for one line without control characters, which break databases and pages."""
    wanted = f"a string of 1 to {most} characters in one line"
    return matching(rf"(?=.*\S)[^\x00-\x1f\x7f]{{1,{most}}}", wanted)


_name = _line(64)
_slugs = list_of(_line(96), filled=True, most=200)
_amount_or_text = by_type(_AMOUNT, {int: _amount, Decimal: _amount, str: _amount})

CHECKS: dict[str, Check] = {
    "name": _name,
    "limit": _amount_or_text,
    "limit_reset": one_of(*RESETS),
    "caps": _cap_table,
    "expires_at": _future,
    "allowed_models": _slugs,
    "allowed_networks": _networks,
    "requests_per_minute": integer(1, 1_000_000),
    "retention_days": _retention,
    "disabled": boolean,
}
NEVER_NULL = ("name", "caps", "retention_days", "disabled")


# --- What is stored ------------------------------------------------------------------------------

_COLUMNS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("name", str.strip),
    "expires_at": ("expires_at", lambda value: value and _time(value)),
    "allowed_models": ("allowed_models", lambda value: list(dict.fromkeys(value or ()))),
    "allowed_networks": (
        "allowed_networks",
        lambda value: [str(ip_network(one)) for one in value or ()],
    ),
    "requests_per_minute": ("requests_per_minute", lambda value: value),
    "retention_days": ("retention_days", lambda value: value),
    "disabled": ("disabled_at", lambda value: timezone.now() if value else None),
}


def _caps(body: dict) -> dict[str, int | None]:
    """Return the caps to set. OpenRouter's single `limit` replaces all of them."""
    if "limit" not in body:
        if body.get("limit_reset") is not None:
            raise InvalidRequest("`limit_reset` needs a `limit`.", param="limit_reset")
        caps = body.get("caps", {})
        return {period: None if cap is None else _nano(cap) for period, cap in caps.items()}
    if "caps" in body:
        raise InvalidRequest("Give either `limit` or `caps`, not both.", param="limit")
    one_limit: dict[str, int | None] = dict.fromkeys(CAPS)
    if body["limit"] is not None:
        reset = body.get("limit_reset")
        one_limit[RESETS[reset] if reset else "total"] = _nano(body["limit"])
    return one_limit
