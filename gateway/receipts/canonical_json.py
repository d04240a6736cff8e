"""Canonical JSON (RFC 8785): equal values give equal bytes, and so equal hashes and signatures.

Keys stand in the order of their UTF-16 units, without spaces, in UTF-8. Numbers are written as
ECMAScript writes them.
"""

import json
import math
from decimal import Decimal
from typing import Any

_LARGEST_EXACT_INTEGER = 2**53
# A number is written with an exponent if it has more digits before the point, or more zeros
# directly after it.
_MOST_DIGITS = 21
_MOST_ZEROS = 6


def canonical(value: Any) -> bytes:
    """Return `value` as canonical JSON.

    Raises ValueError for a value that JSON lacks: NaN, infinity, a lone surrogate.
    """
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
        return "0"  # Negative zero has no sign, either.
    sign = "-" if value < 0 else ""
    return sign + _shortest(abs(value))


def _double(value: int | float) -> float:
    try:
        double = float(value)
    except OverflowError as error:
        raise ValueError("this number is too large for JSON") from error
    if not math.isfinite(double):
        raise ValueError(f"JSON has no {double}")
    return double


def _shortest(value: float) -> str:
    """Write the fewest digits that identify the number.

    Python's `repr` finds the same digits as ECMAScript, but places point and exponent differently.
    """
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
