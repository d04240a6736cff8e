"""Who gets in at /api/: every scope at every operation, strangers, and others' things."""

import datetime as dt

import pytest
from django.test import Client
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, User
from tests.support.api_client import ALL_SCOPES, ask, bearing, by_key, signed_in
from tests.support.api_things import OPERATIONS, OWNED, PRIVATE, Things, publish_model, scope_of
from tests.support.factories import make_key

pytestmark = pytest.mark.usefixtures("books")
WORKS = (200, 201, 202, 204)
EVERY_PRIVATE = pytest.mark.parametrize(("method", "path"), PRIVATE)


@EVERY_PRIVATE
def test_a_key_needs_the_scope_of_the_operation_and_no_other(method, path, alice):
    wanted = scope_of(method, path)
    answers = {
        scope: ask(by_key(alice, scopes=[scope]), method, path, Things(alice))
        for scope in ALL_SCOPES
    }
    assert answers.pop(wanted).status_code in WORKS
    for answer in answers.values():
        assert answer.status_code == 403
        assert answer.json()["missing_scope"] == wanted
        assert f"`{wanted}`" in answer.json()["detail"]


def test_a_key_without_scopes_may_do_nothing(alice):
    client, things = by_key(alice, scopes=[]), Things(alice)
    for method, path in PRIVATE:
        answer = ask(client, method, path, things)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


@EVERY_PRIVATE
def test_who_is_signed_in_may_do_everything(method, path, alice):
    answer = ask(signed_in(alice), method, path, Things(alice))
    assert answer.status_code in WORKS


def test_a_stranger_is_asked_for_a_key(alice):
    things = Things(alice)
    for method, path in PRIVATE:
        answer = ask(Client(), method, path, things)
        assert answer.status_code == 401, (method, path)
        assert answer["WWW-Authenticate"] == 'Bearer realm="Kyma"'
        assert answer.json()["code"] == "not_authenticated"


@pytest.mark.parametrize(("method", "path"), OWNED)
@pytest.mark.parametrize("enter", [signed_in, by_key], ids=["session", "key"])
def test_what_is_alices_is_a_404_for_bob(method, path, enter, alice, bob):
    hers = Things(alice)
    assert ask(enter(bob), method, path, hers).status_code == 404
    assert ask(enter(alice), method, path, hers).status_code in WORKS


@pytest.mark.parametrize(("method", "path"), [one for one in OPERATIONS if one not in PRIVATE])
def test_what_is_public_needs_nothing(method, path, alice):
    publish_model()
    assert ask(Client(), method, path, Things(alice)).status_code == 200


# --- Keys that don't count -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["Bearer nonsense", "Bearer ", "Bearer kyma-é", "Basic YTpi", "nonsense", ""]
)
def test_a_header_that_is_no_key_is_refused_even_beside_a_session(header, alice):
    answer = signed_in(alice).get("/api/account", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("ending", ["revoked_at", "disabled_at", "expires_at"])
def test_a_key_that_has_ended_is_refused(ending, alice):
    answer = by_key(alice, **{ending: timezone.now() - dt.timedelta(seconds=1)}).get("/api/account")
    assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")


def test_a_key_counts_in_no_cookie_and_no_query(alice):
    text = make_key(alice, scopes=ALL_SCOPES)[1]
    client = Client()
    client.cookies["key"] = client.cookies["Authorization"] = text
    answer = client.get("/api/account", {"key": text, "api_key": text, "Authorization": text})
    assert answer.status_code == 401


def test_a_revoked_key_is_refused_at_once(alice):
    row, text = make_key(alice, scopes=["account"])
    client = bearing(text)
    assert client.get("/api/account").status_code == 200
    keys.revoke(row)
    assert client.get("/api/account").status_code == 401


def test_a_key_works_only_where_it_may(alice):
    client = by_key(alice, allowed_networks=["192.0.2.0/24"])
    assert client.get("/api/account", REMOTE_ADDR="192.0.2.7").status_code == 200
    answer = client.get("/api/account", REMOTE_ADDR="198.51.100.7")
    assert (answer.status_code, answer.json()["code"]) == (403, "ip_not_allowed")


@pytest.mark.parametrize(("proxies", "status"), [(0, 403), (1, 200)])
def test_an_address_counts_only_if_a_trusted_proxy_wrote_it(proxies, status, alice, settings):
    settings.TRUSTED_PROXY_COUNT = proxies
    client = by_key(alice, allowed_networks=["192.0.2.0/24"])
    answer = client.get("/api/account", headers={"X-Forwarded-For": "198.51.100.1, 192.0.2.7"})
    assert answer.status_code == status


def test_a_management_key_has_nothing_to_do_here(alice):
    answer = by_key(alice, is_management=True).get("/api/account")
    assert (answer.status_code, answer.json()["code"]) == (403, "management_key")


# --- Accounts that are closed, and other sites ---------------------------------------------------


@pytest.mark.parametrize("state", ["suspended", "erasing"])
def test_a_closed_account_is_refused_everywhere(state, alice):
    things, session, key = Things(alice), signed_in(alice), by_key(alice)
    calls = [(method.upper(), things.path(path)) for method, path in PRIVATE]
    User.objects.filter(pk=alice.pk).update(state=state)
    for method, path in calls:
        for client in (session, key):
            answer = client.generic(method, path)
            assert (answer.status_code, answer.json()["code"]) == (403, f"account_{state}")
            assert answer["Content-Type"] == "application/problem+json"


def test_what_is_public_stays_open_to_a_closed_account(alice):
    publish_model()
    session = signed_in(alice)
    User.objects.filter(pk=alice.pk).update(state="suspended")
    for path in ("/api/models", "/api/prices", "/api/schema", "/api/docs"):
        assert session.get(path).status_code == 200, path


def test_another_site_can_change_nothing_through_a_session(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    body = {"name": "theirs"}
    answer = client.post("/api/keys", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
    assert not ApiKey.objects.exists()
    token = client.get("/api/account") and "a" * 32
    client.cookies["csrftoken"] = token
    answer = client.post(
        "/api/keys", body, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert answer.status_code == 201
