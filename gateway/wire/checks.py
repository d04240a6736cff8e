"""Checks of JSON fields, made to be combined in tables.

A check takes a value and returns nothing, or raises Mismatch with the rest of a sentence that
begins with the field's name. Each container that the Mismatch passes adds its own step, so that
only faulty requests pay for a path like "messages[2].content". `null` counts as absent.

Each check carries the JSON Schema of the values that it takes (`schema_of`). /v1/openapi.json is
made of these schemas, so the documentation follows the checks. Requests don't use the schemas.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from gateway.errors import InvalidRequest
from gateway.wire.schema import (
    BOOLEAN,
    NOTHING,
    TEXT,
    Schema,
    any_of,
    array,
    choice,
    or_null,
    with_tag,
)

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
    """Return the Mismatch for an absent required field, with a description of the right value."""
    try:
        check(None)
    except Mismatch as mismatch:
        return Mismatch(f"is missing: it {mismatch.problem.removesuffix(', not null')}")
    return Mismatch("is missing")


def _shown(value: object) -> str:
    """Describe what the caller sent, without repeating text that may be personal."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"a string of length {len(value):,}" if value else "an empty string"
    if isinstance(value, list):
        return f"a list of length {len(value):,}" if value else "an empty list"
    return "an object" if isinstance(value, dict) else str(value)


# --- The JSON Schema of a check ------------------------------------------------------------------


def takes(schema: Schema) -> Callable[[Check], Check]:
    """Attach to a check the JSON Schema of the values that it takes.

    The schema also allows values that only the check itself can refuse.
    """

    def describe(check: Check) -> Check:
        vars(check)["schema"] = schema
        return check

    return describe


def schema_of(check: Check) -> Schema:
    return vars(check)["schema"]


# --- Checks --------------------------------------------------------------------------------------


@takes({})
def anything(value: Any) -> None:
    pass


@takes(BOOLEAN)
def boolean(value: Any) -> None:
    if type(value) is not bool:
        raise unwanted("true or false", value)


def unless_true(problem: str) -> Check:
    @takes({"type": "boolean", "enum": [False]})
    def check(value: Any) -> None:
        boolean(value)
        if value:
            raise Mismatch(problem)

    return check


def refused(problem: str) -> Check:
    """Take no value: the field asks for what Kyma doesn't do."""

    @takes({"not": {}})
    def check(value: Any) -> None:
        raise Mismatch(problem)

    return check


def number(low: float, high: float, *, without_low: bool = False) -> Check:
    span = f"above {low} and at most {high}" if without_low else f"from {low:g} to {high:g}"
    wanted = f"a number {span}"
    lowest = "exclusiveMinimum" if without_low else "minimum"

    @takes({"type": "number", lowest: low, "maximum": high})
    def check(value: Any) -> None:
        if type(value) not in (int, float) or not low <= value <= high:
            raise unwanted(wanted, value)
        if without_low and value == low:
            raise unwanted(wanted, value)

    return check


def integer(low: int, high: int) -> Check:
    wanted = f"an integer from {low} to {high}"

    @takes({"type": "integer", "minimum": low, "maximum": high})
    def check(value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            raise unwanted(wanted, value)

    return check


def text(*, filled: bool = False, most: int | None = None) -> Check:
    at_most = f" of at most {most} characters" if most else ""
    wanted = f"a string{at_most}" + (" that isn't empty" if filled else "")

    @takes(TEXT | _bounds("Length", filled, most))
    def check(value: Any) -> None:
        if type(value) is not str or (filled and not value) or (most and len(value) > most):
            raise unwanted(wanted, value)

    return check


def _bounds(of_what: str, filled: bool, most: int | None) -> Schema:
    return ({f"min{of_what}": 1} if filled else {}) | ({f"max{of_what}": most} if most else {})


def matching(pattern: str, wanted: str, *, beginning: bool = False) -> Check:
    """Return a check for strings that match `pattern` as a whole, or from their beginning.

    Python and ECMA-262 both have to understand `pattern`, because the schema carries it.
    """
    compiled = re.compile(pattern)
    matches = compiled.match if beginning else compiled.fullmatch

    @takes({"type": "string", "pattern": f"^(?:{pattern})" + ("" if beginning else "$")})
    def check(value: Any) -> None:
        if type(value) is not str or not matches(value):
            raise unwanted(wanted, value)

    return check


def one_of(*choices: str) -> Check:
    known = frozenset(choices)

    @takes(choice(*choices))
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

    @takes(array(schema_of(item)) | _bounds("Items", filled, most))
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
    """Return a check for an object with any keys."""

    @takes({"type": "object", "additionalProperties": schema_of(item)})
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
    """Return a check for an object with these members. It ignores other members."""
    checks = tuple(members.items())

    @takes(_object_schema(members, required))
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


def _object_schema(members: dict[str, Check], required: tuple[str, ...]) -> Schema:
    schema: Schema = {"type": "object"}
    if members:
        schema["properties"] = {
            name: schema_of(check) if name in required else or_null(schema_of(check))
            for name, check in members.items()
        }
    return schema | ({"required": list(required)} if required else {})


def tagged(tag: str, checks: dict[str, Check]) -> Check:
    """Return a check for an object whose member `tag` selects the check of the whole object."""
    choices = tuple(checks)

    @takes(any_of(_tagged_schemas(tag, checks)))
    def check(value: Any) -> None:
        if type(value) is not dict:
            raise unwanted(f"an object with `{tag}`", value)
        name = value.get(tag)
        if type(name) is not str or name not in checks:
            raise _unknown_choice(choices, name).under(tag)
        checks[name](value)

    return check


def _tagged_schemas(tag: str, checks: dict[str, Check]) -> Iterable[Schema]:
    for name, check in checks.items():
        schema = schema_of(check)
        yield NOTHING if schema == NOTHING else with_tag(tag, name, schema)


def by_type(wanted: str, checks: dict[type, Check]) -> Check:
    @takes(any_of(schema_of(check) for check in checks.values()))
    def check(value: Any) -> None:
        chosen = checks.get(type(value))
        if chosen is None:
            raise unwanted(wanted, value)
        chosen(value)

    return check
