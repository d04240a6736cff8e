"""JSON in one form only (RFC 8785), so that whoever signs or hashes the same values gets the same.

Keys in the order of their UTF-16 units, no spaces, UTF-8, numbers as ECMAScript writes them.
"""

import json
import math
from decimal import Decimal
from typing import Any

_LARGEST_EXACT_INTEGER = 2**53
_MOST_DIGITS = 21  # Beyond that many before the point, or 6 zeros after it, an exponent is written.
_MOST_ZEROS = 6


def canonical(value: Any) -> bytes:
    """Raises ValueError for what JSON has not: NaN, infinity, a lone surrogate."""
    return _written(value).encode()


def _written(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(key)}:{_written(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return _number(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: int | float) -> str:
    if isinstance(value, int) and abs(value) <= _LARGEST_EXACT_INTEGER:
        return str(value)
    value = _double(value)
    if value == 0:
        return "0"  # Also the negative one.
    sign = "-" if value < 0 else ""
    return sign + _shortest(abs(value))


def _double(value: int | float) -> float:
    try:
        double = float(value)
    except OverflowError as error:
        raise ValueError("too large a number for JSON") from error
    if not math.isfinite(double):
        raise ValueError(f"JSON has no {double}")
    return double


def _shortest(value: float) -> str:
    """The fewest digits that mean this number: Python finds the same ones, and sets them apart."""
    number = Decimal(repr(value)).normalize()
    digits = "".join(map(str, number.as_tuple().digits))
    point = len(digits) + int(number.as_tuple().exponent)  # Digits before the decimal point.
    if len(digits) <= point <= _MOST_DIGITS:
        return digits.ljust(point, "0")
    if 0 < point <= _MOST_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -_MOST_ZEROS < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
