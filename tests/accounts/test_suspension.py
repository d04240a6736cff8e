import pytest
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client, RequestFactory

from accounts import suspension
from accounts.models import ApiKey, User
from accounts.suspension import SuspensionMiddleware
from kyma import groups
from tests.architecture.test_urls import PRIVATE
from tests.support.account_pages import PASSWORD, sign_in, text_of
from tests.support.factories import make_key, make_user

ELSEWHERE = ("admin/", "api/models/")  # The admin has a test of its own; models are public.
OPEN = ("/", "/contact", "/privacy", "/terms", "/docs")


@pytest.fixture
def suspended(bob, client):
    client.force_login(bob)
    assert suspension.suspend(bob)
    return bob


def test_a_suspended_account_gets_a_clear_403(suspended, client):
    response = client.get("/dashboard")
    assert response.status_code == 403
    assert "Your account is suspended" in text_of(response)


@pytest.mark.parametrize("path", [one for one in PRIVATE if not one.startswith(ELSEWHERE)])
def test_it_is_shut_out_of_every_page(suspended, client, path):
    assert client.get(f"/{path}").status_code == 403
    assert client.post(f"/{path}").status_code == 403


def test_the_admin_is_shut_too(suspended, client):
    User.objects.filter(pk=suspended.pk).update(is_staff=True, is_superuser=True)
    assert client.get("/admin/").status_code == 403


@pytest.mark.parametrize("path", OPEN)
def test_public_pages_stay_open(suspended, client, path):
    assert client.get(path).status_code == 200


def test_signing_out_works_and_signing_in_leads_to_the_same_page(books, client):
    user = make_user("dora@example.org", password=PASSWORD)
    suspension.suspend(user)
    sign_in(client, "dora@example.org")
    assert client.get("/dashboard").status_code == 403
    assert client.post("/accounts/logout/").status_code == 302
    assert client.get("/dashboard").status_code == 302


def test_a_restored_account_works_again(suspended, client):
    assert suspension.restore(suspended)
    assert client.get("/dashboard").status_code == 200
    assert not suspension.restore(suspended)


def test_an_account_that_is_being_erased_is_told_so(carol, client):
    client.force_login(carol)
    response = client.get("/dashboard")
    assert response.status_code == 403
    assert "being erased" in text_of(response)
    assert not suspension.suspend(carol)
    assert not suspension.restore(carol)


@pytest.mark.parametrize("path", ["/api/account", "/api/keys", "/api/usage", "/api/conversations"])
def test_the_api_tells_a_session_what_it_tells_a_key(suspended, client, path):
    _, text = make_key(suspended, scopes=ApiKey.Scope.values)
    answers = [client.get(path), Client().get(path, headers={"Authorization": f"Bearer {text}"})]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert [answer.json()["code"] for answer in answers] == ["account_suspended"] * 2
    assert {answer["Content-Type"] for answer in answers} == {"application/problem+json"}


def test_a_view_that_is_open_to_strangers_is_left_alone(suspended):
    request = RequestFactory().get("/api/keys")
    request.user = suspended
    middleware = SuspensionMiddleware(lambda request: HttpResponse())

    def view(request):
        return HttpResponse()

    view.login_required = False
    assert middleware.process_view(request, view, (), {}) is None


# --- In the admin --------------------------------------------------------------------------------


@pytest.fixture
def staff(client):
    def sign_in_as(**fields) -> User:
        user = make_user(is_staff=True, **fields)
        client.force_login(user)
        return user

    return sign_in_as


def act(client, action: str, *users: User):
    fields = {"action": action, "_selected_action": [str(user.pk) for user in users]}
    return client.post("/admin/accounts/user/", fields, follow=True)


def state_of(user: User) -> str:
    user.refresh_from_db()
    return user.state


def test_operators_suspend_and_restore_and_it_is_on_record(staff, client, alice, carol):
    staff(is_superuser=True)
    assert "1 suspended." in text_of(act(client, "suspend", alice, carol))
    assert (state_of(alice), state_of(carol)) == ("suspended", "erasing")
    assert "1 restored." in text_of(act(client, "restore", alice, carol))
    assert (state_of(alice), state_of(carol)) == ("active", "erasing")
    history = text_of(client.get(f"/admin/accounts/user/{alice.pk}/history/"))
    assert "Suspended." in history
    assert "Restored." in history


def test_nobody_suspends_themselves_or_somebody_above_them(books, staff, client):
    groups.ensure()
    chief = make_user(is_superuser=True, is_staff=True)
    helper = staff()
    helper.groups.set(Group.objects.filter(name="support"))
    other = make_user()
    act(client, "suspend", chief, helper, other)
    assert [state_of(user) for user in (chief, helper, other)] == ["active", "active", "suspended"]


def test_support_does_it_on_the_page_of_a_person_too(books, staff, client, bob):
    groups.ensure()
    helper = staff()
    page = f"/admin/accounts/user/{bob.pk}"
    assert client.post(f"{page}/suspend/").status_code == 403
    helper.groups.set(Group.objects.filter(name="support"))
    for action, state in (("suspend", "suspended"), ("restore", "active")):
        assert f"{page}/{action}/" in client.get(f"{page}/change/").content.decode()
        assert client.get(f"{page}/{action}/").status_code == 405
        assert client.post(f"{page}/{action}/")["Location"] == f"{page}/change/"
        assert state_of(bob) == state


def test_no_page_offers_what_is_refused(books, staff, client, carol):
    groups.ensure()
    chief = make_user(is_superuser=True, is_staff=True)
    helper = staff()
    helper.groups.set(Group.objects.filter(name="support"))
    for user in (chief, helper, carol):
        assert (
            "/suspend/"
            not in client.get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
        )
        client.post(f"/admin/accounts/user/{user.pk}/suspend/")
    assert [state_of(user) for user in (chief, helper, carol)] == ["active", "active", "erasing"]


def test_the_page_of_a_person_shows_balance_and_keys(staff, client, alice):
    staff(is_superuser=True)
    key, text = make_key(alice)
    page = text_of(client.get(f"/admin/accounts/user/{alice.pk}/change/"))
    assert "10.0 (0.0 held)" in page
    assert f"{key.start}…{key.end}" in page
    assert text not in page
