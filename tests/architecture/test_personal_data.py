"""No model and no field of ours is forgotten when a person wants their data or their end."""

import importlib
import importlib.util

import pytest
from django.apps import apps

from accounts.models import User
from accounts.personal_data import OTHERS_PERSONAL_DATA
from tests.support.factories import make_account, make_key, make_user
from tests.support.sources import LAYERS

GROUPS = ("identity", "content", "metadata", "plain")


def registers():
    for app in LAYERS:
        if importlib.util.find_spec(f"{app}.personal_data"):
            yield importlib.import_module(f"{app}.personal_data")


PERSONAL_DATA = {name: entry for one in registers() for name, entry in one.PERSONAL_DATA.items()}
NO_PERSONAL_DATA = {name: why for one in registers() for name, why in one.NO_PERSONAL_DATA.items()}


def our_models() -> dict[str, type]:
    models = apps.get_models(include_auto_created=True)
    return {one._meta.label: one for one in models if one.__module__.split(".")[0] in LAYERS}


def test_every_model_is_registered_or_declared_free():
    assert set(our_models()) == set(PERSONAL_DATA) | set(NO_PERSONAL_DATA)
    assert set(PERSONAL_DATA) & set(NO_PERSONAL_DATA) == set()


def test_an_app_registers_its_own_models():
    for register in registers():
        app = register.__name__.split(".")[0]
        for name in (*register.PERSONAL_DATA, *register.NO_PERSONAL_DATA):
            assert our_models()[name].__module__.split(".")[0] == app


@pytest.mark.parametrize("name", PERSONAL_DATA)
def test_every_field_is_in_one_group(name):
    grouped = [field for group in GROUPS for field in PERSONAL_DATA[name][group]]
    assert sorted(grouped) == sorted(field.name for field in our_models()[name]._meta.fields)
    assert set(PERSONAL_DATA[name]) == {"person", *GROUPS}


def test_what_other_packages_link_to_a_person_is_described():
    linked = {
        one._meta.label
        for one in apps.get_models()
        if one.__module__.split(".")[0] not in (*LAYERS, "djstripe")
        and any(field.related_model is User for field in one._meta.fields)
    }
    assert linked <= set(OTHERS_PERSONAL_DATA)


@pytest.mark.parametrize("name", OTHERS_PERSONAL_DATA)
def test_every_field_of_theirs_is_in_one_group(name):
    grouped = [field for group in GROUPS for field in OTHERS_PERSONAL_DATA[name][group]]
    fields = apps.get_model(name)._meta.fields
    assert sorted(grouped) == sorted(field.name for field in fields)
    assert set(OTHERS_PERSONAL_DATA[name]) == {"person", *GROUPS}


@pytest.mark.parametrize("name", NO_PERSONAL_DATA)
def test_what_is_free_has_a_reason_and_no_link_to_a_person(name):
    assert NO_PERSONAL_DATA[name]
    fields = our_models()[name]._meta.fields
    linked = {field.related_model._meta.label for field in fields if field.related_model}
    assert linked & set(PERSONAL_DATA) == set()


@pytest.mark.parametrize("name", PERSONAL_DATA)
def test_the_rows_of_a_person_can_be_found(name, books):
    person = make_user()
    make_account(person)
    make_key(person)
    assert list(rows_of(name, person)) == list(rows_of(name, person))
    assert not rows_of(name, make_user()) & rows_of(name, person)


def rows_of(name: str, person: User) -> set:
    """The primary keys of the rows of `person`, found as the register says."""
    how, model = PERSONAL_DATA[name]["person"], our_models()[name]
    value = (
        {f"{how}": person.pk}
        if isinstance(how, str)
        else {f"{how[0]}__in": rows_of(how[1], person)}
    )
    return set(model.objects.filter(**value).values_list("pk", flat=True))


def test_the_rows_that_were_found_are_those_of_the_person(books):
    person, key = make_user(), None
    account, key = make_account(person, balance_nano=5), make_key(person)[0]
    assert rows_of("accounts.User", person) == {person.pk}
    assert rows_of("keyring.DataKey", person) == {person.pk}
    assert rows_of("accounts.ApiKey", person) == {key.pk}
    assert rows_of("billing.CreditAccount", person) == {account.pk}
    assert rows_of("billing.LedgerEntry", person) == {account.entries.get().pk}
