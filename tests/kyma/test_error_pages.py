"""What a person sees where there is no page, and where Kyma fails."""

import pytest
from django.test import Client
from django.views.defaults import server_error

from accounts.models import User

ADDRESS = "privacy@kymaapi.com"


def test_a_wrong_address_says_where_things_are(client):
    response = client.get("/no-such-page")
    assert response.status_code == 404
    assert "/v1" in response.text
    assert ADDRESS in response.text


def test_a_fault_of_ours_gets_a_page_without_a_traceback(books, monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("a secret")

    monkeypatch.setattr(User.objects, "get_by_natural_key", fail)
    login = {"username": "alice@example.org", "password": "a secret"}
    response = Client(raise_request_exception=False).post("/admin/login/", login)
    assert response.status_code == 500
    assert ADDRESS in response.text
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/", "/no-such-page"])
def test_pages_ask_no_other_host(client, rf, path):
    for response in (client.get(path), server_error(rf.get(path))):
        assert "//" not in response.text.replace("<!doctype html>", "")
