"""Nobody gets more keys than the limit, however many are asked for at once."""

import datetime as dt

import pytest

from accounts import keys
from accounts.models import ApiKey
from gateway.errors import Forbidden
from gateway.keys import management as key_management
from gateway.keys.fields import KeyFields
from tests.support.at_once import at_once
from tests.support.factories import make_account

AT_ONCE = 8
LIMIT = 3


@pytest.fixture(autouse=True)
def _few_keys(monkeypatch):
    monkeypatch.setattr(key_management, "MAX_KEYS", LIMIT)


def make_one(user) -> None:
    key_management.make(user.id, KeyFields(columns={"name": "one of many"}, caps={}), by=None)


def rotate_with_grace(key) -> None:
    key_management.rotate(key.user_id, key.id, grace=dt.timedelta(hours=1), by=None)


def test_of_8_keys_made_at_once_3_are_made(committed_books, alice, bob):
    for _ in range(LIMIT - 1):
        make_one(bob)  # Somebody else's keys count for nothing.
    outcomes = at_once([lambda: make_one(alice)] * AT_ONCE, Forbidden)
    assert outcomes == ["made"] * LIMIT + ["too_many_keys"] * (AT_ONCE - LIMIT)
    assert ApiKey.objects.filter(user=alice).count() == LIMIT


def test_a_rotation_that_leaves_the_old_key_for_a_while_counts_too(committed_books, alice):
    old, _ = keys.issue(alice, name="old")
    rotations = [lambda: rotate_with_grace(old)] * (AT_ONCE // 2)
    makings = [lambda: make_one(alice)] * (AT_ONCE // 2)
    outcomes = at_once([*rotations, *makings], Forbidden)
    assert outcomes.count("made") == LIMIT - 1
    assert ApiKey.objects.filter(user=alice).count() == LIMIT


def test_a_rotation_at_once_takes_the_place_of_the_old_key(books):
    user = make_account().user
    rows = [keys.issue(user, name="old")[0] for _ in range(LIMIT)]
    with pytest.raises(Forbidden):
        rotate_with_grace(rows[0])
    key_management.rotate(user.id, rows[0].id, grace=dt.timedelta(), by=None)
    assert ApiKey.objects.filter(user=user, revoked_at=None).count() == LIMIT
