import io

import pytest
from django.core.management import CommandError, call_command

from accounts import keys
from accounts.keyring import data_keys
from accounts.models import ApiKey, User
from billing.models import CreditAccount
from tests.support.factories import make_model

pytestmark = pytest.mark.usefixtures("books")


def create_key(**options) -> str:
    output = io.StringIO()
    call_command("create_key", stdout=output, stderr=io.StringIO(), **options)
    return output.getvalue()


def test_a_new_person_gets_an_account_with_credit_and_a_working_key(settings):
    text = create_key(email="dora@example.org", name="laptop")
    key = keys.authenticate(text.strip())
    assert (key.user.email, key.name) == ("dora@example.org", "laptop")
    assert key.user.credit_account.balance_nano == settings.SIGNUP_CREDIT_NANO
    data_keys.cipher_of(key.user.id)
    assert not key.user.has_usable_password()
    assert not key.user.is_staff


def test_without_a_gift_a_new_person_gets_a_key_too(settings):
    settings.SIGNUP_CREDIT_NANO = 0
    key = keys.authenticate(create_key(email="dora@example.org").strip())
    assert key.user.credit_account.balance_nano == 0


def test_a_mailbox_that_had_the_gift_gets_a_key_and_no_second_one():
    for email in ("dora@gmail.com", "d.ora@gmail.com"):
        create_key(email=email)
    assert sorted(CreditAccount.objects.values_list("balance_nano", flat=True)) == [0, 500_000_000]


def test_the_key_is_all_that_stands_on_standard_output():
    assert keys.is_well_formed(create_key(email="dora@example.org").removesuffix("\n"))


def test_a_person_who_is_there_gets_another_key_and_no_more_credit(alice):
    balance_nano = alice.credit_account.balance_nano
    first, second = (
        keys.authenticate(create_key(email=email).strip())
        for email in ("alice@example.org", " ALICE@example.org")
    )
    assert first.user == second.user == alice
    assert first != second
    assert CreditAccount.objects.get(user=alice).balance_nano == balance_nano


def test_a_person_without_an_account_gets_one():
    admin = User.objects.create_superuser("root@example.org", "a long password")
    create_key(email="root@example.org")
    assert CreditAccount.objects.get(user=admin).balance_nano == 0


def test_a_person_who_is_being_erased_gets_none(carol):
    with pytest.raises(CommandError, match="erasing"):
        create_key(email="carol@example.org")
    assert not ApiKey.objects.filter(user=carol).exists()


@pytest.mark.parametrize("email", ["dora", "", "dora@", "dora@example.org\nBcc: all"])
def test_what_is_no_address_is_refused(email):
    with pytest.raises(CommandError, match="no e-mail address"):
        create_key(email=email)
    assert not User.objects.exists()


def test_a_management_key_can_be_asked_for():
    plain, management = (
        keys.authenticate(create_key(email="dora@example.org", **options).strip())
        for options in ({}, {"management": True})
    )
    assert (plain.is_management, management.is_management) == (False, True)


def test_a_key_can_be_made_for_some_models_alone():
    for slug in ("one", "two"):
        make_model(slug)
    text = create_key(email="dora@example.org", allowed_model=["two", "one"])
    assert keys.authenticate(text.strip()).allowed_models == ["two", "one"]


def test_a_model_that_is_not_in_the_catalogue_makes_no_key():
    with pytest.raises(CommandError, match="no model nope in"):
        create_key(email="dora@example.org", allowed_model=["nope"])
    assert not User.objects.exists()
