"""The JSON body of a request, read strictly.

Every body that `parse` returns can be written out again and means the same to every reader. Objects
and lists are at most MAX_DEPTH deep and MAX_CONTAINERS many, integers fit 64 bits, and there is no
NaN, no lone surrogate and no key twice in one object (a reader that takes the first `max_tokens`
and one that takes the last would disagree about the price).

The caller chooses what a body costs: ten megabytes are one text, or five million numbers. So parts
are counted in the raw bytes before anything is made of them, and bodies that cost more than a
moment are read in a thread, one after the other. There no step keeps the event loop waiting for as
long as 100 ms: Python's own steps are interrupted, and the parts of a body bound those in C.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import orjson

from gateway.errors import InvalidRequest

MAX_DEPTH = 64
MAX_CONTAINERS = 100_000  # objects and lists; more can only be meant to keep the process busy
MAX_PARTS = 400_000  # values, keys, objects and lists; OpenAI embeds 300,000 tokens per request
SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**64 - 1

_CHEAP_BYTES = 16_000  # of a body that is read at once, whatever it holds
_QUICK_BYTES = 256_000  # of a body that is read at once if it has few parts
_QUICK_PARTS = 4_000
_STRUCTURE = (b",", b":", b"[", b"{")

_LONGEST_INTEGER = 20  # characters, the sign included
_LONGEST_FRACTION = 40  # characters, in bodies whose fractions must be exact
_LONGEST_KEY_SHOWN = 64
_TOO_DEEP = f"The body is nested too deeply: use at most {MAX_DEPTH} levels of objects and lists."
_TOO_MANY = f"The body holds more than {MAX_CONTAINERS:,} objects and lists: send fewer."
_TOO_MANY_PARTS = (
    f"The body holds more than {MAX_PARTS:,} values and keys: send fewer, or several requests."
)

Understood = TypeVar("Understood")
_thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")


async def read(raw: bytes, understand: Callable[[dict], Understood]) -> tuple[dict, Understood]:
    """Return the body and its meaning. `understand` may run in a thread. Raises GatewayError."""
    if _is_quick(raw):
        return _parse_and(understand, raw)
    return await asyncio.get_running_loop().run_in_executor(_thread, _parse_and, understand, raw)


def _parse_and(understand: Callable[[dict], Understood], raw: bytes) -> tuple[dict, Understood]:
    body = parse(raw)
    return body, understand(body)


def _is_quick(raw: bytes) -> bool:
    if len(raw) <= _CHEAP_BYTES:
        return True
    return len(raw) <= _QUICK_BYTES and sum(map(raw.count, _STRUCTURE)) <= _QUICK_PARTS


def parse(raw: bytes) -> dict:
    if _has_too_many_parts(raw):
        raise InvalidRequest(_TOO_MANY_PARTS)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(_what_is_wrong(raw, error)) from None
    if type(body) is not dict:
        raise InvalidRequest(
            'The body must be one JSON object, such as {"model": …, "messages": […]}, '
            "not a list, text, number, true, false or null."
        )
    _check_nesting(raw, body)
    # A body that orjson writes out byte for byte as it came repeats no key and has no integer that
    # became a float. Any other body is read once more to check both.
    if orjson.dumps(body) != raw:
        _check_keys_and_integers(raw)
    return body


def parse_exactly(raw: bytes) -> dict:
    """Parse like `parse`, but with fractions as Decimal, for bodies with amounts of money."""
    parse(raw)
    return json.loads(raw.decode(), parse_float=_decimal)


def _has_too_many_parts(raw: bytes) -> bool:
    """Count the parts in the raw bytes, those that only stand in texts last."""
    if len(raw) <= MAX_PARTS or sum(map(raw.count, _STRUCTURE)) <= MAX_PARTS:
        return False
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    if raw.count(b'"') > 2 * MAX_PARTS:
        return True
    outside = b"".join(raw.split(b'"')[::2])
    return sum(map(outside.count, _STRUCTURE)) > MAX_PARTS


def _what_is_wrong(raw: bytes, error: orjson.JSONDecodeError) -> str:
    if not raw.strip():
        return "The body is empty: send a JSON object and `Content-Type: application/json`."
    try:
        raw.decode()
    except UnicodeDecodeError as undecodable:
        return f"The body is not UTF-8 (at byte {undecodable.start}): encode the JSON as UTF-8."
    if "depth limit" in error.msg or "recursion" in error.msg:
        return _TOO_DEEP
    where = f"at line {error.lineno}, column {error.colno}"
    if error.doc.startswith(("NaN", "Infinity"), error.pos):  # past the sign, if there is one
        return f"JSON has no NaN or Infinity ({where}): send a finite number or null."
    if "number is infinity" in error.msg:
        return f"A number is too large ({where}): send one that fits a 64-bit float."
    if "surrogate" in error.msg:
        return f"A \\u escape is half of a surrogate pair ({where}): send both halves or neither."
    return f"The body is not valid JSON: {error.msg} {where}."


def _check_nesting(raw: bytes, body: dict) -> None:
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return
    level: list = [body]
    containers = 1
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
        containers += len(level)
        if containers > MAX_CONTAINERS:
            raise InvalidRequest(_TOO_MANY)
    raise InvalidRequest(_TOO_DEEP)


def _check_keys_and_integers(raw: bytes) -> None:
    json.loads(raw.decode(), object_pairs_hook=_check_keys, parse_int=_check_integer)


def _check_keys(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            shown = json.dumps(key[:_LONGEST_KEY_SHOWN], ensure_ascii=False)
            raise InvalidRequest(f"The key {shown} stands twice in one object: keep one of them.")
        seen.add(key)


def _check_integer(digits: str) -> None:
    if len(digits) > _LONGEST_INTEGER or not (SMALLEST_INTEGER <= int(digits) <= LARGEST_INTEGER):
        raise InvalidRequest(
            "An integer doesn't fit 64 bits: send a smaller one, or send it as a string."
        )


def _decimal(text: str) -> Decimal:
    if len(text) > _LONGEST_FRACTION:
        raise InvalidRequest(f"A number is longer than {_LONGEST_FRACTION} characters: shorten it.")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InvalidRequest(
            "A number has an exponent that doesn't fit: write the number without an exponent."
        ) from None
