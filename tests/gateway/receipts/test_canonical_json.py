"""One form for the same values: RFC 8785."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.receipts.canonical_json import canonical

# From the appendix of the RFC, and where Python would write otherwise.
NUMBERS = {
    "0": 0.0,
    "0 ": -0.0,
    "1": 1.0,
    "-1.5": -1.5,
    "5e-324": 5e-324,
    "1.7976931348623157e+308": 1.7976931348623157e308,
    "9007199254740992": 2**53,
    "-9007199254740992": -(2**53),
    "295147905179352830000": 295147905179352830000.0,
    "1e+21": 1e21,
    "999999999999999900000": 999999999999999900000.0,
    "1e+23": 1e23,
    "333333333.3333332": 333333333.3333332,
    "0.000001": 1e-6,
    "1e-7": 1e-7,
    "9.5e-7": 9.5e-7,
    "0.00001": 1e-5,
    "1424953923781206.2": 1424953923781206.2,
    "12345678901234567000": 12345678901234567890,
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_a_number_is_written_as_ecmascript_does(text, number):
    assert canonical(number).decode() == text.strip()


def test_the_example_of_the_rfc_comes_out_as_it_says():
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_stand_in_the_order_of_their_utf_16_units():
    ordered = ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]
    assert list(json.loads(canonical(dict.fromkeys(sorted(ordered), 0)))) == ordered


@given(VALUES)
def test_what_is_written_means_the_same_and_is_written_the_same_again(value):
    written = canonical(value)
    assert json.loads(written, parse_int=float) == value
    assert canonical(json.loads(written)) == written


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**400, "\ud800", {"\ud800": 1}], ids=repr
)
def test_what_json_has_not_is_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011 - it is one kind of error, of many messages
        canonical([value])
