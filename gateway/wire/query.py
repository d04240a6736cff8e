"""The parameters in the query of a URL, checked."""

import re
from collections.abc import Mapping

from gateway.errors import InvalidRequest
from gateway.wire.checks import Check, Mismatch

MAX_OFFSET = 10**9


def number(query: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    """Return the parameter `name` as an integer from `low` to `high`. Raises InvalidRequest."""
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,10}", text) or not low <= int(text) <= high:
        raise InvalidRequest(f"`{name}` must be an integer from {low} to {high}.", param=name)
    return int(text)


def offset(query: Mapping[str, str]) -> int:
    """Return how many items of a list to skip. Raises InvalidRequest."""
    return number(query, "offset", 0, low=0, high=MAX_OFFSET)


def checked(query: Mapping[str, str], name: str, check: Check) -> str | None:
    """Return the parameter `name` after `check`, or None if it is absent. Raises InvalidRequest."""
    value = query.get(name)
    if value is not None:
        try:
            check(value)
        except Mismatch as mismatch:
            raise mismatch.under(name).as_error() from None
    return value


def names(query: Mapping[str, str], name: str) -> set[str]:
    """Return the names in the parameter `name`, which are separated by commas."""
    return set(filter(None, (one.strip() for one in query.get(name, "").split(","))))
