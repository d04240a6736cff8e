import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from accounts import keys
from accounts.errors import InvalidKey
from accounts.keyring import data_keys
from accounts.keyring.models import DataKey
from accounts.models import ApiKey, User
from gateway.models import RequestContent
from tests.support.factories import make_key, make_user

OURS = {"accounts", "billing", "gateway", "chat", "privacy", "keyring"}
PASSWORD = "correct horse battery"  # of nobody but the people of these tests


@pytest.fixture
def operator(books, client):
    user = make_user("operator@example.org", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


def page(action: str, model: type, *arguments) -> str:
    return reverse(
        f"admin:{model._meta.app_label}_{model._meta.model_name}_{action}", args=arguments
    )


def form_of(response) -> dict:
    """What the page's form would send if nothing were changed."""
    form = response.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value not in (None, False)}


def our_pages() -> list[admin.ModelAdmin]:
    return [one for model, one in admin.site._registry.items() if model._meta.app_label in OURS]


# --- The whole site ------------------------------------------------------------------------------


def test_content_and_keyring_have_no_page():
    for model in (RequestContent, DataKey):
        assert not admin.site.is_registered(model)
    assert {apps.get_model(name) for name in ("accounts.User", "gateway.ApiRequest")} <= {
        one.model for one in our_pages()
    }


def test_every_page_sends_strangers_to_the_login(books, client):
    for one in our_pages():
        address = page("changelist", one.model)
        response = client.get(address)
        assert response.status_code == 302
        assert response["Location"] == f"/accounts/login/?next={address}"


def test_people_without_staff_rights_are_sent_to_the_login(books, client, bob):
    client.force_login(bob)
    for one in our_pages():
        response = client.get(page("changelist", one.model))
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


def test_no_page_deletes_anything(operator, client, rf):
    request = rf.get("/")
    request.user = operator
    for one in our_pages():
        assert not one.has_delete_permission(request)
        assert "delete_selected" not in one.get_actions(request)
    key, _ = make_key(make_user())
    assert client.post(page("delete", ApiKey, key.id), {"post": "yes"}).status_code == 403


def test_the_site_is_called_kyma(operator, client):
    response = client.get("/admin/")
    assert response.status_code == 200
    assert response.context["site_header"] == response.context["site_title"] == "Kyma"


# --- People --------------------------------------------------------------------------------------


def test_the_pages_of_people_open(operator, client, alice, carol):
    for address in (
        page("changelist", User),
        page("changelist", User) + "?q=alice&state=active",
        page("add", User),
        page("change", User, alice.id),
        page("change", User, carol.id),
        page("history", User, alice.id),
        f"/admin/accounts/user/{alice.id}/password/",
    ):
        assert client.get(address).status_code == 200


def test_the_list_of_people_takes_few_queries(operator, client, django_assert_max_num_queries):
    for _ in range(20):
        make_user()
    with django_assert_max_num_queries(6):
        client.get(page("changelist", User))


def test_a_person_added_in_the_admin_can_sign_in_and_has_a_data_key(operator, client):
    response = client.post(
        page("add", User),
        {
            "email": "New@Example.org",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    )
    assert response.status_code == 302
    user = User.objects.get(email="new@example.org")
    assert user.password.startswith("argon2")
    assert user.check_password(PASSWORD)
    assert data_keys.cipher_of(user.id)
    assert not user.is_staff


def test_a_person_is_suspended_but_their_choice_of_providers_is_theirs(operator, client, alice):
    address = page("change", User, alice.id)
    fields = form_of(client.get(address))
    response = client.post(address, {**fields, "state": "suspended", "provider_choice": "stored"})
    assert response.status_code == 302
    alice.refresh_from_db()
    assert (alice.state, alice.provider_choice) == ("suspended", "none")


def test_an_address_is_kept_in_lower_case(operator, client, alice):
    address = page("change", User, alice.id)
    client.post(address, {**form_of(client.get(address)), "email": "Alice@Example.net"})
    alice.refresh_from_db()
    assert alice.email == "alice@example.net"


def test_erasing_is_neither_begun_nor_ended_by_hand(operator, client, alice, carol):
    address = page("change", User, alice.id)
    response = client.post(address, {**form_of(client.get(address)), "state": "erasing"})
    assert response.status_code == 200
    assert "state" in response.context["adminform"].form.errors
    address = page("change", User, carol.id)
    client.post(address, {**form_of(client.get(address)), "state": "active"})
    carol.refresh_from_db()
    assert carol.state == "erasing"


def test_a_password_is_changed_on_its_own_page(operator, client, alice):
    response = client.post(
        f"/admin/accounts/user/{alice.id}/password/",
        {
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    )
    assert response.status_code == 302
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


@pytest.fixture
def helper(books, client):
    """Staff that may change people, without being a superuser."""
    user = make_user("helper@example.org", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    client.force_login(user)
    return user


def test_staff_cannot_raise_themselves(helper, client):
    address = page("change", User, helper.id)
    fields = form_of(client.get(address))
    assert "is_superuser" not in fields
    client.post(address, {**fields, "is_superuser": "on"})
    helper.refresh_from_db()
    assert not helper.is_superuser


def test_staff_cannot_change_a_superuser(helper, client):
    chief = make_user("chief@example.org", is_superuser=True, is_staff=True)
    address = f"/admin/accounts/user/{chief.id}/password/"
    assert client.get(address).status_code == 403
    assert client.post(page("change", User, chief.id), {"email": "x@x.org"}).status_code == 403


# --- API keys ------------------------------------------------------------------------------------


def test_the_pages_of_keys_open_and_show_how_a_key_starts_and_ends(operator, client, alice):
    key, text = make_key(alice, name="laptop")
    for address in (
        page("changelist", ApiKey),
        page("changelist", ApiKey) + "?q=laptop",
        page("change", ApiKey, key.id),
    ):
        html = client.get(address).content.decode()
        assert f"{text[:9]}…{text[-4:]}" in html
        assert "alice@example.org" in html
        assert text not in html
        assert key.digest not in html


def test_the_list_of_keys_takes_few_queries(operator, client, django_assert_max_num_queries):
    for _ in range(20):
        make_key(make_user())
    with django_assert_max_num_queries(6):
        client.get(page("changelist", ApiKey))


def test_keys_are_not_made_in_the_admin(operator, client):
    assert client.get(page("add", ApiKey)).status_code == 403


def test_a_key_is_disabled_and_enabled_again(operator, client, alice):
    key, text = make_key(alice)
    address = page("change", ApiKey, key.id)
    now = timezone.now()
    client.post(address, {"disabled_at_0": now.date(), "disabled_at_1": now.strftime("%H:%M:%S")})
    with pytest.raises(InvalidKey, match="disabled"):
        keys.authenticate(text)
    client.post(address, {"disabled_at_0": "", "disabled_at_1": ""})
    assert keys.authenticate(text) == key


def test_keys_are_revoked_by_an_action(operator, client, alice):
    key, text = make_key(alice)
    ended, _ = make_key(alice)
    keys.revoke(ended)
    ended.refresh_from_db()
    other, other_text = make_key(alice)
    response = client.post(
        page("changelist", ApiKey),
        {"action": "revoke", "_selected_action": [key.id, ended.id]},
        follow=True,
    )
    assert re.search(r"1 revoked\.", response.content.decode())
    with pytest.raises(InvalidKey, match="revoked"):
        keys.authenticate(text)
    assert ApiKey.objects.get(pk=ended.pk).revoked_at == ended.revoked_at
    assert keys.authenticate(other_text) == other
    assert "Revoked." in client.get(page("history", ApiKey, key.id)).content.decode()
