from tests.support.engines import ENGINE, ONCE, TESTS


def test_every_place_that_is_named_is_there():
    missing = {place for place in ENGINE | ONCE if not (TESTS / place).exists()}
    assert not missing, f"tests/support/engines.py names {sorted(missing)}: say where they are now."
