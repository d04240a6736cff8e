"""Every refusal has one form, and none tells of the inside."""

import pytest
from django.test import Client

from kyma.api import account
from tests.support.api_client import signed_in

pytestmark = pytest.mark.usefixtures("books")


def check(answer, status: int, code: str) -> dict:
    """The problem, once it was found to be one."""
    told = answer.json()
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code)
    assert answer["Content-Type"] == "application/problem+json"
    assert set(told) >= {"type", "title", "detail"}
    return told


@pytest.mark.parametrize(
    "path", ["/api/nowhere", "/api/", "/api", "/api/keys/x", "/api/models/no/such"]
)
def test_an_address_that_leads_nowhere_is_a_problem_not_a_page(path):
    check(Client().get(path), 404, "not_found")


def test_elsewhere_it_is_a_page():
    assert Client().get("/nowhere")["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/api/keys"), ("OPTIONS", "/api/account")])
def test_a_wrong_method_names_the_right_ones(method, path, alice):
    answer = signed_in(alice).generic(method, path)
    check(answer, 405, "method_not_allowed")
    assert "GET" in answer["Allow"]


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense"])
def test_answers_are_json_whatever_is_asked_for(accept, alice):
    answer = signed_in(alice).get("/api/account?format=api", headers={"Accept": accept})
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "a/b; c"])
def test_a_body_must_be_json(kind, alice):
    answer = signed_in(alice).post("/api/keys", "{}", content_type=kind)
    check(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "1", "null", '{"name": "x", "name": "y"}', '{"name": NaN}', b"\xff", "[" * 999],
)
def test_a_body_that_is_no_object_is_refused(body, alice):
    answer = signed_in(alice).post("/api/keys", body, content_type="application/json")
    check(answer, 400, "invalid_request")


def test_a_body_has_an_end(alice, settings):
    settings.MAX_BODY_BYTES = 1000
    body = '{"name": "%s"}' % ("x" * 1000)
    answer = signed_in(alice).post("/api/keys", body, content_type="application/json")
    check(answer, 413, "payload_too_large")


def test_a_fault_of_ours_shows_nothing_of_itself(alice, monkeypatch, caplog):
    written = "a " + "poem"

    def fail(self, request):
        raise RuntimeError(written)

    monkeypatch.setattr(account.Account, "get", fail)
    told = check(signed_in(alice).get("/api/account"), 500, "server_error")
    assert set(told) == {"type", "title", "status", "detail", "code"}
    assert written not in str(told) + caplog.text
    assert "RuntimeError" in caplog.text
