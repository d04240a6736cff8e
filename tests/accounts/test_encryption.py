import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.encryption import (
    Cipher,
    new_key,
    open_under_master_key,
    seal_under_master_key,
)
from accounts.errors import SealBroken

PLACE = "chat.Message:1"


def master_key(version: int, fill: int) -> str:
    return f"{version}:{base64.b64encode(bytes([fill]) * 32).decode()}"


@given(st.binary(max_size=300))
def test_what_was_sealed_opens(plain):
    cipher = Cipher(new_key())
    assert cipher.open(cipher.seal(plain, PLACE), PLACE) == plain


def test_the_plain_text_is_nowhere_in_what_is_sealed():
    assert b"canary" not in Cipher(new_key()).seal(b"canary " * 10, PLACE)


def test_the_same_text_is_sealed_differently_each_time():
    cipher = Cipher(new_key())
    assert len({cipher.seal(b"same", PLACE) for _ in range(100)}) == 100


def test_another_place_does_not_open_it():
    cipher = Cipher(new_key())
    with pytest.raises(SealBroken):
        cipher.open(cipher.seal(b"text", PLACE), "chat.Message:2")


def test_another_key_does_not_open_it():
    sealed = Cipher(new_key()).seal(b"text", PLACE)
    with pytest.raises(SealBroken):
        Cipher(new_key()).open(sealed, PLACE)


def test_any_changed_byte_is_noticed():
    cipher = Cipher(new_key())
    sealed = cipher.seal(b"text", PLACE)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            cipher.open(bytes(changed), PLACE)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13])
def test_what_is_cut_short_is_noticed(length):
    cipher = Cipher(new_key())
    with pytest.raises(SealBroken):
        cipher.open(cipher.seal(b"text", PLACE)[:length], PLACE)


def test_sealed_bytes_may_come_as_a_database_gives_them():
    cipher = Cipher(new_key())
    assert cipher.open(memoryview(cipher.seal(b"text", PLACE)), PLACE) == b"text"


def test_the_master_key_seals_and_opens(settings):
    settings.MASTER_KEYS = master_key(1, 7)
    assert open_under_master_key(seal_under_master_key(b"key", PLACE), PLACE) == b"key"


def test_after_a_rotation_the_newest_seals_and_the_older_still_opens(settings):
    settings.MASTER_KEYS = master_key(1, 7)
    old = seal_under_master_key(b"key", PLACE)
    settings.MASTER_KEYS = f"{master_key(1, 7)},{master_key(2, 9)}"
    assert open_under_master_key(old, PLACE) == b"key"
    assert seal_under_master_key(b"key", PLACE)[0] == 2


def test_a_retired_master_key_opens_nothing(settings):
    settings.MASTER_KEYS = master_key(1, 7)
    old = seal_under_master_key(b"key", PLACE)
    settings.MASTER_KEYS = master_key(2, 9)
    with pytest.raises(SealBroken, match="version 1 is not configured"):
        open_under_master_key(old, PLACE)


def test_under_the_master_key_a_place_counts_too(settings):
    settings.MASTER_KEYS = master_key(1, 7)
    with pytest.raises(SealBroken):
        open_under_master_key(seal_under_master_key(b"key", PLACE), "elsewhere")


def test_nothing_at_all_opens_as_nothing():
    with pytest.raises(SealBroken):
        open_under_master_key(b"", PLACE)
