"""How often a test repeats itself: a few times in `make test`, longer in the other runs."""

import pytest


def counts(test: int, *, proof: int, endurance: int) -> list:
    """Return the values of a parameter, each marked for the run that it belongs to."""
    return [
        test,
        pytest.param(proof, marks=pytest.mark.proof),
        pytest.param(endurance, marks=pytest.mark.endurance),
    ]
