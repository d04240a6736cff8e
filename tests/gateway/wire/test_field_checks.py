"""Each kind of check takes just the values that its schema takes, on both sides of each edge."""

import itertools

import jsonschema_rs
import pytest

from gateway.dialects.prompts import inputs
from gateway.wire.checks import (
    Mismatch,
    anything,
    boolean,
    by_type,
    integer,
    list_of,
    mapping_of,
    matching,
    number,
    object_of,
    one_of,
    schema_of,
    tagged,
    text,
)

NAMED = object_of({"name": text(filled=True), "age": integer(0, 2)}, required=("name",))
CHECKS = {
    "anything": anything,
    "boolean": boolean,
    "number": number(-1, 2),
    "number above": number(-1, 2, without_low=True),
    "integer": integer(-1, 2),
    "text": text(),
    "filled text": text(filled=True),
    "short text": text(most=2),
    "matching": matching("[a-c]+", "letters"),
    "beginning": matching("a|b", "a or b", beginning=True),
    "one of": one_of("a", "abc"),
    "list": list_of(integer(0, 2)),
    "filled list": list_of(integer(0, 2), filled=True, most=2),
    "mapping": mapping_of(integer(0, 2)),
    "object": NAMED,
    "tagged": tagged("kind", {"any": anything, "named": NAMED}),
    "tagged twice": tagged("kind", {"named": tagged("name", {"a": NAMED, "b": anything})}),
    "by type": by_type("a word or a named one", {str: one_of("a"), dict: NAMED}),
    "inputs": inputs(2),
}
PLAIN = [None, True, False, -2, -1, 0, 1, 2, 3, -1.5, -0.5, 1.5, 2.5]
TEXTS = ["", "a", "b", "d", "ab", "abc", "ad", "da", "a\nb", "é" * 2, "é" * 3]
LISTS = [list(some) for most in range(4) for some in itertools.product([0, 2, 3, "a"], repeat=most)]
NESTED = [[[]], [[1]], [[1], [2]], [[1], "a"], [[1], [2], [3]], [["a"]]]
MEMBERS = {
    "name": [None, "", "a", "b", 1],
    "age": [None, 0, 3, "a"],
    "kind": [None, "any", "named", "other", 1],
}
OBJECTS = [
    {name: value for name, value in zip(MEMBERS, values, strict=True) if value != "absent"}
    for values in itertools.product(*(["absent", *some] for some in MEMBERS.values()))
]
VALUES = [
    *PLAIN,
    *TEXTS,
    *LISTS,
    *NESTED,
    *OBJECTS,
    {"a": 1},
    {"a": 3},
    {"other": "x", "name": "a"},
]


def is_taken(check, value) -> bool:
    try:
        check(value)
    except Mismatch:
        return False
    return True


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_check_and_schema_agree(check):
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema = jsonschema_rs.validator_for({**dialect, **schema_of(check)})
    verdicts = [(value, is_taken(check, value), schema.is_valid(value)) for value in VALUES]
    assert [found for found in verdicts if found[1] != found[2]] == []
    assert len({found[1] for found in verdicts}) == 2 or check is anything
