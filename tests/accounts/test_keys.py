import datetime as dt
import re

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from accounts import keys
from accounts.errors import InvalidKey
from accounts.ids import uuid7
from accounts.models import ApiKey
from tests.support.factories import make_key, make_user


@pytest.fixture
def user(books):
    return make_user()


def test_a_key_looks_as_secret_scanners_expect(user):
    _, text = make_key(user)
    assert re.fullmatch(r"kyma-[0-9A-Za-z]{40}", text)
    assert keys.is_well_formed(text)


def test_keys_differ(user):
    assert len({make_key(user)[1] for _ in range(20)}) == 20


def test_a_key_opens_the_account_of_its_person(user):
    key, text = make_key(user)
    found = keys.authenticate(text)
    assert (found, found.user) == (key, user)


def test_the_key_itself_is_not_stored(user):
    key, text = make_key(user)
    stored = ApiKey.objects.filter(pk=key.pk).values_list().get()
    assert text not in map(str, stored)
    assert key.digest == keys.digest(text)
    assert (key.start, key.end) == (text[:9], text[-4:])


def test_authentication_takes_one_query(user, django_assert_num_queries):
    _, text = make_key(user)
    with django_assert_num_queries(1):
        keys.authenticate(text)


@pytest.mark.parametrize("position", [0, 4, 5, 20, 38, 39, 44])
def test_a_typo_is_noticed_without_a_query(user, position, django_assert_num_queries):
    _, text = make_key(user)
    replacement = "a" if text[position] != "a" else "b"
    typo = text[:position] + replacement + text[position + 1 :]
    assert not keys.is_well_formed(typo)
    with django_assert_num_queries(0), pytest.raises(InvalidKey, match="copied whole"):
        keys.authenticate(typo)


@pytest.mark.parametrize(
    "text", ["", "kyma-", "sk-abc", "kyma-" + "0" * 40, "kyma-" + "ä" * 40, "kyma-" + "0" * 10_000]
)
def test_what_is_no_key_is_refused(text):
    assert not keys.is_well_formed(text)


def test_two_characters_swapped_are_noticed(user):
    _, text = make_key(user)
    places = [i for i in range(5, 43) if text[i] != text[i + 1]]
    for i in places:
        swapped = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
        assert not keys.is_well_formed(swapped)


def refusal_of(text) -> str:
    with pytest.raises(InvalidKey) as refusal:
        keys.authenticate(text)
    assert text not in str(refusal.value)
    return str(refusal.value)


def test_a_key_that_never_was_is_refused(user):
    key, text = make_key(user)
    key.delete()
    assert "doesn't exist" in refusal_of(text)


def test_a_revoked_key_is_refused_for_good(user):
    key, text = make_key(user)
    keys.revoke(key)
    assert "revoked" in refusal_of(text)


def test_revoking_twice_keeps_the_first_date(user):
    key, _ = make_key(user)
    keys.revoke(key)
    key.refresh_from_db()
    first = key.revoked_at
    keys.revoke(key)
    key.refresh_from_db()
    assert key.revoked_at == first


def test_a_disabled_key_is_refused_until_it_is_enabled(user):
    key, text = make_key(user, disabled_at=timezone.now())
    assert "disabled" in refusal_of(text)
    ApiKey.objects.filter(pk=key.pk).update(disabled_at=None)
    assert keys.authenticate(text) == key


def test_a_key_is_refused_from_the_moment_it_expires(user):
    key, text = make_key(user, expires_at=timezone.now() + dt.timedelta(hours=1))
    assert keys.authenticate(text) == key
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    assert "expired" in refusal_of(text)


def test_a_key_of_a_closed_account_is_refused(user):
    _, text = make_key(user)
    user.is_active = False
    user.save()
    assert "closed" in refusal_of(text)


def test_a_key_that_has_ended_is_called_so_even_if_it_was_disabled_too(user):
    now = timezone.now()
    for fields, state in (
        ({"disabled_at": now, "expires_at": now}, "expired"),
        ({"disabled_at": now, "expires_at": now, "revoked_at": now}, "revoked"),
        ({"disabled_at": now, "expires_at": now + dt.timedelta(hours=1)}, "disabled"),
    ):
        key, text = make_key(user, **fields)
        assert key.state == state
        assert state in refusal_of(text)


# --- Switched off and on, rotated ----------------------------------------------------------------


def test_disabling_twice_keeps_the_first_date(user):
    key, text = make_key(user)
    keys.disable(key)
    key.refresh_from_db()
    first = key.disabled_at
    keys.disable(key)
    key.refresh_from_db()
    assert key.disabled_at == first
    keys.enable(key)
    assert keys.authenticate(text) == key


def test_a_rotated_key_hands_on_all_its_rules(user):
    rules = {
        "name": "batch jobs",
        "retention_days": 7,
        "allowed_models": ["llama-3.1-8b"],
        "allowed_networks": ["192.0.2.0/24"],
        "requests_per_minute": 5,
        "scopes": ["usage:read"],
        "expires_at": timezone.now() + dt.timedelta(days=9),
        "is_management": True,
    }
    old, _ = make_key(user, **rules)
    new, text = keys.rotate(old)
    assert {name: getattr(new, name) for name in rules} == rules
    assert (new.user, keys.authenticate(text)) == (user, new)


def test_the_rotated_key_ends_at_once_without_a_grace(user):
    old, text = make_key(user)
    keys.rotate(old)
    assert "revoked" in refusal_of(text)


def test_the_rotated_key_works_on_for_the_grace(user):
    old, text = make_key(user)
    keys.rotate(old, grace=dt.timedelta(hours=1))
    old.refresh_from_db()
    assert keys.authenticate(text) == old
    left = old.expires_at - timezone.now()
    assert dt.timedelta(minutes=59) < left <= dt.timedelta(hours=1)


def test_a_grace_never_prolongs_a_key(user):
    end = timezone.now() + dt.timedelta(minutes=5)
    old, _ = make_key(user, expires_at=end)
    keys.rotate(old, grace=dt.timedelta(hours=24))
    old.refresh_from_db()
    assert old.expires_at == end


def test_a_key_that_was_disabled_is_not_enabled_by_its_rotation(user):
    old, old_text = make_key(user, disabled_at=timezone.now())
    new, text = keys.rotate(old, grace=dt.timedelta(hours=1))
    assert "disabled" in refusal_of(old_text)
    assert keys.authenticate(text) == new


@pytest.mark.parametrize("ending", ["revoked_at", "expires_at"])
def test_a_key_that_has_ended_is_not_rotated(user, ending):
    key, _ = make_key(user, **{ending: timezone.now()})
    with pytest.raises(InvalidKey, match="ended"):
        keys.rotate(key)
    assert ApiKey.objects.count() == 1


# --- Scopes, and rows made by older processes ----------------------------------------------------


def test_a_key_may_do_nothing_at_the_api_unless_it_is_said(user):
    assert make_key(user)[0].scopes == []


@pytest.mark.parametrize("scopes", ["keys", ["all"], [["keys"]], {"keys": True}, [1]])
def test_scopes_are_checked(user, scopes):
    key, _ = make_key(user, scopes=scopes)
    with pytest.raises(ValidationError) as refusal:
        key.full_clean()
    assert "scopes" in refusal.value.message_dict


def test_a_process_that_knows_no_rules_yet_can_still_make_keys(user):
    columns = [
        field.column
        for field in ApiKey._meta.concrete_fields
        if field.name
        not in (
            "allowed_models",
            "allowed_networks",
            "requests_per_minute",
            "is_management",
            "scopes",
        )
    ]
    made, _ = make_key(user)
    names = ", ".join(f'"{name}"' for name in columns)
    connection.cursor().execute(
        f"INSERT INTO accounts_apikey ({names}) SELECT "
        + names.replace('"id"', "%s").replace('"digest"', "'other'")
        + " FROM accounts_apikey",
        [ApiKey._meta.pk.get_db_prep_value(uuid7(), connection)],
    )
    copy = ApiKey.objects.exclude(pk=made.pk).get()
    assert (copy.allowed_models, copy.allowed_networks, copy.scopes) == ([], [], [])
    assert copy.is_management is False
