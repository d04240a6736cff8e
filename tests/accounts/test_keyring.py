import pytest
from django.db import connections

from accounts.encryption import seal_under_master_key
from accounts.errors import KeyDestroyed, SealBroken
from accounts.ids import uuid7
from accounts.keyring import data_keys
from accounts.keyring.models import DataKey
from accounts.models import User
from tests.support.factories import make_user

pytestmark = pytest.mark.usefixtures("books")


def test_a_person_has_a_data_key_from_the_beginning():
    user = make_user()
    cipher = data_keys.cipher_of(user.id)
    assert cipher.open(cipher.seal(b"text", "here"), "here") == b"text"


def test_each_person_has_a_key_of_their_own():
    sealed = data_keys.cipher_of(make_user().id).seal(b"text", "here")
    with pytest.raises(SealBroken):
        data_keys.cipher_of(make_user().id).open(sealed, "here")


def test_a_key_once_made_stays():
    user = make_user()
    sealed = data_keys.cipher_of(user.id).seal(b"text", "here")
    data_keys.create(user.id)
    assert data_keys.cipher_of(user.id).open(sealed, "here") == b"text"


def test_a_destroyed_key_opens_nothing():
    user = make_user()
    data_keys.destroy(user.id)
    with pytest.raises(KeyDestroyed):
        data_keys.cipher_of(user.id)
    data_keys.destroy(user.id)  # Safe to repeat.


def test_a_key_does_not_open_at_another_owner():
    one, other = DataKey.objects.get(owner=make_user().id), make_user()
    DataKey.objects.filter(owner=other.id).update(sealed=one.sealed)
    with pytest.raises(SealBroken):
        data_keys.cipher_of(other.id)


def test_keys_lie_sealed():
    owner = uuid7()
    place = DataKey(owner=owner).place
    DataKey.objects.create(owner=owner, sealed=seal_under_master_key(b"0" * 32, place))
    assert b"0" * 8 not in bytes(DataKey.objects.get(owner=owner).sealed)


def test_the_keyring_lies_in_a_database_of_its_own():
    assert DataKey.objects.db == "keyring"
    assert User.objects.db == "default"
    assert "keyring_datakey" in connections["keyring"].introspection.table_names()
    assert "keyring_datakey" not in connections["default"].introspection.table_names()


def test_nothing_else_lies_in_the_keyring():
    tables = set(connections["keyring"].introspection.table_names())
    assert tables == {"keyring_datakey", "django_migrations"}


def test_a_person_cannot_be_made_without_a_keyring(monkeypatch):
    def fail(owner):
        raise ConnectionError("the keyring is out of reach")

    monkeypatch.setattr(data_keys, "create", fail)
    with pytest.raises(ConnectionError):
        make_user("dora@example.org")
    assert not User.objects.filter(email="dora@example.org").exists()
