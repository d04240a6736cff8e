"""How the first administrators come to be, and what the groups of staff may do."""

import datetime as dt
import io
from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, User
from billing.key_caps import CAPS, caps_of
from billing.models import CreditAccount
from kyma import groups
from kyma.machine import first_run
from tests.support.account_pages import PASSWORD, is_signed_in, sign_in
from tests.support.factories import cap_key, make_key, make_user


def create_admin(monkeypatch, email: str, password: str = PASSWORD) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    call_command("create_admin", email, password_stdin=True)


def test_create_admin_makes_somebody_who_enters_the_admin(books, client, monkeypatch):
    create_admin(monkeypatch, "Op@Example.org")
    sign_in(client, "op@example.org")
    assert client.get("/admin/").status_code == 200


def test_create_admin_asks_for_the_password_twice(books, monkeypatch):
    typed = iter([PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    call_command("create_admin", "op@example.org")
    assert User.objects.get().check_password(PASSWORD)
    typed = iter([PASSWORD, "another password"])
    with pytest.raises(CommandError, match="differ"):
        call_command("create_admin", "other@example.org")


def test_create_admin_raises_a_person_who_has_an_account(alice, monkeypatch):
    create_admin(monkeypatch, "alice@example.org")
    alice.refresh_from_db()
    assert alice.is_superuser
    assert alice.check_password(PASSWORD)


@pytest.mark.parametrize(
    ("email", "password", "why"),
    [
        ("no address", PASSWORD, "valid email"),
        ("op@example.org", "short", "too short"),
        ("carol@example.org", PASSWORD, "erasing"),
    ],
)
def test_create_admin_refuses(carol, monkeypatch, email, password, why):
    with pytest.raises(CommandError, match=why):
        create_admin(monkeypatch, email, password)
    assert not User.objects.filter(is_staff=True).exists()


def test_the_admin_of_a_first_run_signs_in_to_dashboard_and_admin(books, client, tmp_path):
    login = first_run.ensure_admin(tmp_path / "first_run.json")
    assert sign_in(client, login.email, login.password)["Location"] == "/dashboard"
    assert is_signed_in(client)
    assert client.get("/admin/").status_code == 200


def test_a_first_run_gives_its_admin_the_gift_once_whatever_it_is_later(books, tmp_path, settings):
    path = tmp_path / "first_run.json"
    given_nano = settings.SIGNUP_CREDIT_NANO
    login = first_run.ensure_admin(path)
    for later_nano in (given_nano, 1, 0):
        settings.SIGNUP_CREDIT_NANO = later_nano
        assert first_run.ensure_admin(path) == login
    assert CreditAccount.objects.get(user__email=login.email).balance_nano == given_nano


def test_without_a_gift_a_first_run_makes_its_admin_too(books, tmp_path, settings):
    settings.SIGNUP_CREDIT_NANO = 0
    for _ in range(2):
        login = first_run.ensure_admin(tmp_path / "first_run.json")
    assert CreditAccount.objects.get(user__email=login.email).balance_nano == 0


# --- Groups --------------------------------------------------------------------------------------


@pytest.fixture
def member_of(books):
    groups.ensure()

    def sign_in_as(name: str) -> Client:
        user = make_user(is_staff=True)
        user.groups.add(Group.objects.get(name=name))
        client = Client()
        client.force_login(user)
        return client

    return sign_in_as


def test_making_the_groups_again_changes_nothing(member_of):
    before = {one.name: one.permissions.count() for one in Group.objects.all()}
    groups.ensure()
    assert {one.name: one.permissions.count() for one in Group.objects.all()} == before
    assert set(before) == {"support", "finance", "privacy_officer"}
    assert all(before.values())


@pytest.mark.parametrize(
    ("group", "opens", "refuses"),
    [
        (
            "support",
            ("accounts/user/", "accounts/apikey/", "billing/ledgerentry/", "gateway/apirequest/"),
            ("accounts/user/add/", "billing/priceversion/", "auth/group/"),
        ),
        (
            "finance",
            ("accounts/user/", "billing/creditaccount/", "billing/priceversion/add/"),
            ("accounts/apikey/", "accounts/user/add/", "gateway/provider/"),
        ),
        (
            "privacy_officer",
            ("accounts/user/", "gateway/apirequest/"),
            ("billing/ledgerentry/", "gateway/route/"),
        ),
    ],
)
def test_each_group_sees_its_pages(member_of, group, opens, refuses):
    client = member_of(group)
    assert [client.get(f"/admin/{page}").status_code for page in opens] == [200] * len(opens)
    assert {client.get(f"/admin/{page}").status_code for page in refuses} <= {403, 404}


def test_no_group_takes_somebody_over(member_of, alice):
    make_key(alice)
    for group in groups.PERMISSIONS:
        client = member_of(group)
        address = f"/admin/accounts/user/{alice.pk}/"
        assert client.post(f"{address}change/", {"email": "mine@example.org"}).status_code == 403
        assert client.post(f"{address}password/", {"password1": PASSWORD}).status_code == 403


# --- Support and the keys of people --------------------------------------------------------------

LIFTED = {
    "name": "mine",
    "retention_days": "0",
    "allowed_models": "[]",
    "allowed_networks": "[]",
    "requests_per_minute": "",
    "is_management": "on",
    "scopes": '["keys"]',
    "expires_at_0": "",
    "expires_at_1": "",
    "disabled_at_0": "",
    "disabled_at_1": "",
    **{f"{period}_cap_usd": "" for period in CAPS},
}


@pytest.fixture
def limited(alice):
    """A key with every limit that there is."""
    key, _ = make_key(
        alice,
        allowed_models=["scripted"],
        allowed_networks=["192.0.2.0/24"],
        requests_per_minute=5,
        expires_at=timezone.now() + dt.timedelta(days=1),
        disabled_at=timezone.now(),
    )
    cap_key(key, **{f"{period}_cap_nano": 1_000_000_000 for period in CAPS})
    return key


def columns_of(key: ApiKey) -> dict:
    return ApiKey.objects.filter(pk=key.pk).values().get() | {"caps": caps_of(key)}


@pytest.mark.parametrize("field", LIFTED)
def test_support_changes_no_field_of_a_key(member_of, limited, field):
    client, before = member_of("support"), columns_of(limited)
    address = f"/admin/accounts/apikey/{limited.pk}/change/"
    assert client.post(address, {field: LIFTED[field]}).status_code == 403
    assert client.post(address, LIFTED).status_code == 403
    assert columns_of(limited) == before


def test_support_sees_a_key_without_a_form(member_of, limited):
    answer = member_of("support").get(f"/admin/accounts/apikey/{limited.pk}/change/")
    assert answer.status_code == 200
    html = answer.content.decode()
    assert [field for field in (*LIFTED, "_save") if f'name="{field}"' in html] == []


@pytest.mark.parametrize(("action", "state"), [("disable", "disabled"), ("revoke", "revoked")])
def test_support_disables_and_revokes_keys(member_of, alice, action, state):
    client, (key, _), (other, _) = member_of("support"), make_key(alice), make_key(alice)
    fields = {"action": action, "_selected_action": [key.id]}
    answer = client.post("/admin/accounts/apikey/", fields, follow=True)
    assert f"1 {state}." in answer.content.decode()
    assert ApiKey.objects.get(pk=key.pk).state == state
    assert ApiKey.objects.get(pk=other.pk).state == "active"


def test_a_disabled_key_keeps_its_time_and_stays_disabled(member_of, limited):
    client, before = member_of("support"), columns_of(limited)
    for action in ("disable", "enable"):
        fields = {"action": action, "_selected_action": [limited.id]}
        client.post("/admin/accounts/apikey/", fields)
    assert columns_of(limited) == before


def test_those_who_may_only_see_keys_neither_disable_nor_revoke(member_of, alice):
    key, _ = make_key(alice)
    for action in ("disable", "revoke"):
        fields = {"action": action, "_selected_action": [key.id]}
        member_of("privacy_officer").post("/admin/accounts/apikey/", fields)
    assert ApiKey.objects.get(pk=key.pk).state == "active"


def test_an_upgrade_takes_the_right_to_change_keys_from_support(books):
    groups.ensure()
    support = Group.objects.get(name="support")
    ours = Permission.objects.filter(content_type__app_label="accounts")
    support.permissions.add(ours.get(codename="change_apikey"))
    step = import_module("accounts.migrations.0012_support_disables_keys")
    step.take_away_limits(apps, None)
    codenames = set(support.permissions.values_list("codename", flat=True))
    assert "change_apikey" not in codenames
    assert {"view_apikey", "disable_apikey"} <= codenames
