"""What a person sees where there is no page, where they may not be, and where Kyma fails."""

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from django.views.csrf import csrf_failure
from django.views.defaults import bad_request, permission_denied, server_error

from tests.support.api_client import by_key, signed_in
from tests.support.pages import asked_for, inline_styles_and_scripts

ADDRESS = "privacy@kymaapi.com"
PUBLIC = ["/", "/docs", "/terms", "/contact", "/privacy", "/no-such-page"]
PRIVATE = ["/dashboard", "/usage", "/billing", "/settings/privacy"]


def test_a_wrong_address_says_where_things_are(client):
    response = client.get("/no-such-page")
    assert response.status_code == 404
    assert "/v1" in response.text
    assert ADDRESS in response.text


def test_a_fault_of_ours_gets_a_page_without_a_traceback(books, monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("a secret")

    monkeypatch.setattr(EmailAddress.objects, "filter", fail)
    login = {"login": "alice@example.org", "password": "a secret"}
    response = Client(raise_request_exception=False).post("/accounts/login/", login)
    assert response.status_code == 500
    assert ADDRESS in response.text
    assert "secret" not in response.text


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_without_its_database_kyma_says_so_once_and_asks_nobody_again(alice, kind):
    client, queries = signed_in(alice), []

    def fail(execute, sql, *arguments):
        queries.append(sql)
        raise kind("connection to db.internal failed: password is 'hunter2'")

    client.raise_request_exception = False
    with connection.execute_wrapper(fail):
        page = client.get("/dashboard")
        assert len(queries) == 1  # Each might be waited for until its limit.
        problem = client.get("/api/account")
    for answer in (page, problem):
        assert answer.status_code == 503
        assert answer["Retry-After"] == "5"
        assert answer["Cache-Control"] == "no-store"
        assert "hunter2" not in answer.text
    assert "Not available right now" in page.text
    assert not inline_styles_and_scripts(page.text)
    assert problem["Content-Type"] == "application/problem+json"
    assert problem.json()["code"] == "unavailable"


def test_a_key_is_looked_up_once_even_if_that_fails(alice):
    client, queries = by_key(alice), []

    def fail(execute, sql, *arguments):
        queries.append(sql)
        raise OperationalError("gone")

    with connection.execute_wrapper(fail):
        answer = client.get("/api/account")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert len(queries) == 1


def test_the_page_of_a_fault_needs_no_database(rf):
    """This test uses none: a query would fail it."""
    assert "The fault is ours" in server_error(rf.get("/")).text


def stranger(rf):
    request = rf.get("/")
    request.user = AnonymousUser()
    return request


def test_who_may_not_be_somewhere_is_told_so(rf):
    response = permission_denied(stranger(rf), PermissionError("a secret"))
    assert response.status_code == 403
    assert "You may not do this" in response.text
    assert "secret" not in response.text


def test_a_request_that_makes_no_sense_gets_a_page(rf):
    response = bad_request(rf.get("/"), ValueError("a secret"))
    assert response.status_code == 400
    assert "be understood" in response.text
    assert "secret" not in response.text


def test_a_form_without_its_token_says_what_to_do(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post("/settings/privacy", {"choice": "stored"})
    assert response.status_code == 403
    assert "reload the page, and send it again" in response.text
    alice.refresh_from_db()
    assert alice.provider_choice == "none"


def test_no_error_page_is_for_search_engines(rf, client):
    for response in (
        client.get("/no-such-page"),
        server_error(rf.get("/")),
        bad_request(rf.get("/"), None),
        permission_denied(stranger(rf), None),
        csrf_failure(stranger(rf)),
    ):
        assert '<meta name="robots" content="noindex">' in response.text


@pytest.mark.parametrize("path", PUBLIC)
def test_pages_ask_no_other_host(path, rf, books):
    for response in (Client().get(path), server_error(rf.get(path))):
        assert not [address for address in asked_for(response.text) if "//" in address]
        assert inline_styles_and_scripts(response.text) == []


@pytest.mark.parametrize("path", PRIVATE)
def test_pages_of_who_is_signed_in_ask_no_other_host(path, alice):
    client = Client()
    client.force_login(alice)
    text = client.get(path).text
    assert not [address for address in asked_for(text) if "//" in address]
    assert inline_styles_and_scripts(text) == []


def test_the_stylesheet_asks_nobody_for_anything():
    assert "url(" not in (settings.BASE_DIR / "kyma/static/kyma/site.css").read_text()
