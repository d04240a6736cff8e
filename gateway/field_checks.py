"""Checks of JSON fields, made to be put together in tables.

A check takes a value and returns nothing, or raises Mismatch with the rest of a sentence that
begins with the field's name. Each container on the way out adds its own step, so that a request
without faults never pays for the path "messages[2].content". `null` counts as absent.
"""

import re
from collections.abc import Callable
from typing import Any

from gateway.errors import InvalidRequest

Check = Callable[[Any], None]

_LONGEST_CHOICE_SHOWN = 32


class Mismatch(Exception):
    def __init__(self, problem: str):
        super().__init__(problem)
        self.problem = problem
        self.steps: list[str | int] = []

    def under(self, step: str | int) -> "Mismatch":
        self.steps.append(step)
        return self

    def as_error(self) -> InvalidRequest:
        path = "".join(f"[{s}]" if type(s) is int else f".{s}" for s in reversed(self.steps))
        param = path.removeprefix(".")
        return InvalidRequest(f"`{param}` {self.problem}.", param=param)


def unwanted(wanted: str, value: object) -> Mismatch:
    return Mismatch(f"must be {wanted}, not {_shown(value)}")


def missing(check: Check) -> Mismatch:
    """What to say of an absent field that is required: what it would have to be."""
    try:
        check(None)
    except Mismatch as mismatch:
        return Mismatch(f"is missing: it {mismatch.problem.removesuffix(', not null')}")
    return Mismatch("is missing")


def _shown(value: object) -> str:
    """What the caller sent, without repeating a text that may be personal."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"a string of length {len(value):,}" if value else "an empty string"
    if isinstance(value, list):
        return f"a list of length {len(value):,}" if value else "an empty list"
    return "an object" if isinstance(value, dict) else str(value)


def anything(value: Any) -> None:
    pass


def boolean(value: Any) -> None:
    if type(value) is not bool:
        raise unwanted("true or false", value)


def number(low: float, high: float, *, without_low: bool = False) -> Check:
    span = f"above {low} and at most {high}" if without_low else f"from {low:g} to {high:g}"
    wanted = f"a number {span}"

    def check(value: Any) -> None:
        if type(value) not in (int, float) or not low <= value <= high:
            raise unwanted(wanted, value)
        if without_low and value == low:
            raise unwanted(wanted, value)

    return check


def integer(low: int, high: int) -> Check:
    wanted = f"an integer from {low} to {high}"

    def check(value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            raise unwanted(wanted, value)

    return check


def text(*, filled: bool = False, most: int | None = None) -> Check:
    at_most = f" of at most {most} characters" if most else ""
    wanted = f"a string{at_most}" + (" that isn't empty" if filled else "")

    def check(value: Any) -> None:
        if type(value) is not str or (filled and not value) or (most and len(value) > most):
            raise unwanted(wanted, value)

    return check


def matching(pattern: str, wanted: str) -> Check:
    fullmatch = re.compile(pattern).fullmatch

    def check(value: Any) -> None:
        if type(value) is not str or not fullmatch(value):
            raise unwanted(wanted, value)

    return check


def one_of(*choices: str) -> Check:
    known = frozenset(choices)

    def check(value: Any) -> None:
        if type(value) is not str or value not in known:
            raise _unknown_choice(choices, value)

    return check


def _unknown_choice(choices: tuple[str, ...], value: Any) -> Mismatch:
    wanted = " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
    if type(value) is str and 0 < len(value) <= _LONGEST_CHOICE_SHOWN:
        return Mismatch(f"must be {wanted}, not {value}")
    return unwanted(wanted, value)


def list_of(item: Check, *, filled: bool = False, most: int | None = None) -> Check:
    at_most = f" of at most {most:,} items" if most else ""
    wanted = f"a list{at_most}" + (" that isn't empty" if filled else "")

    def check(value: Any) -> None:
        if type(value) is not list or (filled and not value) or (most and len(value) > most):
            raise unwanted(wanted, value)
        for index, element in enumerate(value):
            try:
                item(element)
            except Mismatch as mismatch:
                raise mismatch.under(index) from None

    return check


def mapping_of(item: Check) -> Check:
    """An object whose keys are the caller's."""

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise unwanted("an object", value)
        for element in value.values():
            try:
                item(element)
            except Mismatch as mismatch:
                raise Mismatch(f"has a value that {mismatch.problem}") from None

    return check


def object_of(members: dict[str, Check], *, required: tuple[str, ...] = ()) -> Check:
    """An object with these members; members that it has beside them are left as they are."""
    checks = tuple(members.items())

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise unwanted("an object", value)
        for name, member in checks:
            element = value.get(name)
            if element is None:
                if name in required:
                    raise missing(member).under(name)
                continue
            try:
                member(element)
            except Mismatch as mismatch:
                raise mismatch.under(name) from None

    return check


def tagged(tag: str, checks: dict[str, Check]) -> Check:
    """An object whose member `tag` says which check the whole of it has to pass."""
    choices = tuple(checks)

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise unwanted(f"an object with `{tag}`", value)
        name = value.get(tag)
        if type(name) is not str or name not in checks:
            raise _unknown_choice(choices, name).under(tag)
        checks[name](value)

    return check


def by_type(wanted: str, checks: dict[type, Check]) -> Check:
    def check(value: Any) -> None:
        chosen = checks.get(type(value))
        if chosen is None:
            raise unwanted(wanted, value)
        chosen(value)

    return check
