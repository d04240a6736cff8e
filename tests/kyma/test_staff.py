"""How the first administrators come to be, and what the groups of staff may do."""

import io

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from billing.models import CreditAccount
from kyma import groups
from kyma.machine import first_run
from tests.support.account_pages import PASSWORD, is_signed_in, sign_in
from tests.support.factories import make_key, make_user


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
