"""No part that fails or finds nothing may look like one that passed."""

import sys

import pytest

from tests.support.side_by_side import NO_TESTS, is_well, print_table, run


def ending(code: int) -> list[str]:
    return [sys.executable, "-c", f"print('says', {code}); raise SystemExit({code})"]


@pytest.mark.parametrize(
    ("codes", "well"),
    [([0, 0], True), ([0, 1], False), ([1, 0], False), ([0, NO_TESTS], True), ([NO_TESTS], False)],
)
def test_all_is_well_if_something_passed_and_nothing_failed(capfd, codes, well):
    parts = run({f"part {number}": ending(code) for number, code in enumerate(codes)})
    assert is_well(parts) == well
    print_table(parts)
    printed = capfd.readouterr().out
    assert printed.count("says") == len(codes)
    assert printed.count("FAILED") == codes.count(1)
