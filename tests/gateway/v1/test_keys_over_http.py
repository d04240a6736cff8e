"""Who may ask: keys and accounts as a running gateway takes or refuses them.

Whoever is let in leaves exactly one row in the request log, whatever the answer; others none.
"""

import datetime as dt

import pytest
import requests
from django.forms.models import model_to_dict
from django.utils import timezone

from accounts import keys
from accounts.keyring import data_keys
from accounts.models import ApiKey, User
from gateway.models import ApiRequest, Route
from tests.gateway.conftest import live_route
from tests.support.factories import make_price
from tests.support.gateway.http_client import GET_PATHS, HELLO, error_of, send, use, wait_for_log
from tests.support.gateway.wire_client import CHAT
from tests.support.live import eventually
from tests.support.provider.scripts import Bytes, Event, Head, Pause, answer, chunk

NOT_WHOLE = "This is not a Kyma key: check that it was copied whole."
NO_KEY = (
    "No API key given. Send the header 'Authorization: Bearer kyma-...' with a key from the "
    "dashboard, at /keys."
)
SLOWLY = [Pause(0.1), Bytes(b": not yet\n\n")]
SECRET = "ssn 078-05-1120"


def status_of(customer) -> int:
    return customer.get("/v1/credits/balance").status_code


def typo(key: str) -> str:
    return key[:20] + ("a" if key[20] != "a" else "b") + key[21:]


# Keys


PUBLIC = "/v1/models"  # without a key
NEED_A_KEY = [CHAT, *(path for path in GET_PATHS if path != PUBLIC)]


@pytest.mark.parametrize("path", NEED_A_KEY)
@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, NO_KEY),
        ({"Authorization": "Bearer"}, NO_KEY),
        ({"Authorization": "Basic YWxpY2U6c2VjcmV0"}, NO_KEY),
        ({"x-api-key": ""}, NO_KEY),
        ({"Authorization": "Bearer sk-proj-of-somebody-else"}, NOT_WHOLE),
        ({"x-api-key": "kyma-short"}, NOT_WHOLE),
        ({"Authorization": "Bearer kyma-" + 39 * "é"}, NOT_WHOLE),
    ],
)
def test_without_a_key_of_ours_nobody_gets_in(gateway, path, header, message):
    encoded = {name: value.encode() for name, value in header.items()}
    check_unauthenticated(use(gateway, path, encoded), message)


def test_a_wrong_key_gets_not_even_what_needs_none(gateway):
    check_unauthenticated(use(gateway, PUBLIC, {"x-api-key": "kyma-short"}), NOT_WHOLE)


def check_unauthenticated(response: requests.Response, message: str) -> None:
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    error = error_of(response)
    assert error["message"] == message
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert error["metadata"] == {"error_type": "authentication"}


def changed(**fields):
    """What changes the key's row."""
    return lambda customer: ApiKey.objects.filter(pk=customer.key.pk).update(**fields)


ENDED = {
    "revoked": (
        lambda customer: keys.revoke(customer.key),
        "This key was revoked. Make a new one in the dashboard, at /keys.",
    ),
    "disabled": (
        changed(disabled_at=timezone.now()),
        "This key is disabled. Enable it in the dashboard, at /keys.",
    ),
    "expired": (
        changed(expires_at=timezone.now() - dt.timedelta(seconds=1)),
        "This key has expired. Make a new one in the dashboard, at /keys.",
    ),
    "deleted": (lambda customer: customer.key.delete(), "This key doesn't exist."),
    "of a closed account": (
        lambda customer: User.objects.filter(pk=customer.user.pk).update(is_active=False),
        "The account of this key is closed.",
    ),
    "of an erased person": (
        lambda customer: data_keys.destroy(customer.user.id),
        "The account of this key is closed.",
    ),
}


@pytest.mark.parametrize("how", ENDED)
@pytest.mark.parametrize("was_used", [True, False])
def test_a_key_that_has_ended_is_refused_and_told_why(customer, how, was_used):
    end, message = ENDED[how]
    if was_used and how != "deleted":  # One that was used can't be deleted.
        assert status_of(customer) == 200
    end(customer)
    eventually(lambda: status_of(customer), lambda status: status == 401)
    check_unauthenticated(customer.get("/v1/models"), message)
    check_unauthenticated(customer.post(HELLO), message)
    wait_for_log(customer.gateway)
    assert {row.status for row in customer.requests()} <= {200}


def test_a_typo_is_told_from_a_key_that_does_not_exist(customer):
    headers = {"Authorization": f"Bearer {typo(customer.key_text)}"}
    response = send(customer.gateway, "GET", "/v1/models", headers=headers)
    check_unauthenticated(response, NOT_WHOLE)
    assert customer.key_text[:12] not in response.text
    wait_for_log(customer.gateway)
    assert customer.requests() == []


@pytest.mark.parametrize("name", ["x-api-key", "X-API-Key", "authorization"])
@pytest.mark.parametrize("path", [CHAT, *GET_PATHS])
def test_the_key_may_come_in_either_header(customer, name, path):
    value = customer.key_text if "key" in name.lower() else f"bearer  {customer.key_text} "
    response = use(customer.gateway, path, {name: value})
    assert response.status_code == (404 if "generation" in path else 200)


def test_of_two_keys_the_one_in_authorization_counts(customer):
    headers = {"Authorization": f"Bearer {typo(customer.key_text)}", "x-api-key": customer.key_text}
    assert send(customer.gateway, "GET", "/v1/models", headers=headers).status_code == 401


def test_a_bearer_without_a_key_is_none_beside_another_header(customer):
    headers = {"Authorization": "Bearer ", "x-api-key": customer.key_text}
    assert send(customer.gateway, "GET", "/v1/models", headers=headers).status_code == 200


def test_a_key_that_expires_later_is_good_until_then(customer):
    ApiKey.objects.filter(pk=customer.key.pk).update(
        expires_at=timezone.now() + dt.timedelta(minutes=1)
    )
    assert status_of(customer) == 200


@pytest.mark.parametrize("path", [CHAT, *GET_PATHS])
def test_a_suspended_account_is_refused_everywhere(customer, fake, path):
    User.objects.filter(pk=customer.user.pk).update(state=User.State.SUSPENDED)
    response = use(customer.gateway, path, customer.headers)
    assert response.status_code == 403
    error = error_of(response)
    assert (error["type"], error["code"]) == ("permission_error", "account_suspended")
    assert error["metadata"] == {"error_type": "permission_denied"}
    assert "privacy@kymaapi.com" in error["message"]
    row = customer.settled_request()
    assert (row.status, row.outcome) == (403, ApiRequest.Outcome.REFUSED)


@pytest.mark.parametrize("path", [CHAT, *GET_PATHS])
def test_so_is_one_that_is_being_erased(customer, fake, path):
    User.objects.filter(pk=customer.user.pk).update(state=User.State.ERASING)
    response = use(customer.gateway, path, customer.headers)
    assert (response.status_code, error_of(response)["code"]) == (403, "account_erasing")


def test_more_requests_at_once_than_an_account_may_run_are_refused(customer, fake):
    token = fake.script([Head(), Event(chunk({"content": "One "})), *200 * SLOWLY])
    running = [customer.ask(token, stream=True, max_tokens=5) for _ in range(8)]
    response = customer.ask(token, max_tokens=5)
    assert response.status_code == 429
    error = error_of(response)
    assert (error["type"], error["code"]) == ("rate_limit_error", "too_many_concurrent_requests")
    assert error["metadata"] == {"error_type": "rate_limit_exceeded"}
    assert "may run 8 requests at once" in error["message"]
    assert response.headers["Retry-After"] == "1"
    assert int(response.headers["x-ratelimit-remaining-requests"]) > 0
    assert fake.count(token) == 8
    (row,) = eventually(customer.requests)
    assert (row.status, row.outcome, row.hold_nano) == (429, ApiRequest.Outcome.REFUSED, 0)

    running.pop().close()
    eventually(lambda: len(customer.holds()) < 8)
    assert customer.ask("Hello", max_tokens=5).status_code == 200
    for each in running:
        each.close()
    eventually(lambda: not customer.holds())


# The request log


def at(path: str):
    return lambda customer: customer.get(path)


EVERY_WAY = {
    "chat": (lambda customer: customer.post(HELLO), "chat", 200, "finished", ""),
    "list": (at("/v1/models"), "models", 200, "finished", ""),
    "head": (
        lambda customer: send(customer.gateway, "HEAD", "/v1/models", headers=customer.headers),
        "models",
        200,
        "finished",
        "",
    ),
    "model": (at("/v1/models/scripted"), "model", 200, "finished", ""),
    "no model": (at("/v1/models/nope"), "model", 404, "refused", "not_found"),
    "balance": (at("/v1/credits/balance"), "balance", 200, "finished", ""),
    "no generation": (at(GET_PATHS[-1]), "generation", 404, "refused", "not_found"),
    "no id": (at("/v1/generation"), "generation", 400, "refused", "invalid_request"),
    "wrong body": (lambda customer: customer.post([]), "chat", 400, "refused", "invalid_request"),
    "wrong type": (
        lambda customer: requests.post(
            customer.gateway.url + CHAT, data={"a": "b"}, headers=customer.headers, timeout=10
        ),
        "chat",
        415,
        "refused",
        "invalid_request",
    ),
    "contradiction": (
        lambda customer: customer.ask("Hello", tool_choice="required"),
        "chat",
        422,
        "refused",
        "unprocessable",
    ),
    "too dear": (
        lambda customer: customer.ask("Hello", max_tokens=8000, n=8, model="dear"),
        "chat",
        402,
        "refused",
        "payment_required",
    ),
}


@pytest.mark.parametrize("way", EVERY_WAY)
def test_everyone_who_is_let_in_leaves_one_row(customer, way):
    make_dear_route()
    ask, api, status, outcome, error_type = EVERY_WAY[way]
    response = ask(customer)
    assert response.status_code == status
    wait_for_log(customer.gateway)
    row = customer.settled_request()
    assert str(row.id) == response.headers["x-request-id"]
    assert (row.api, row.status, row.outcome, row.error_type) == (api, status, outcome, error_type)
    assert (row.account_id, row.key_id) == (customer.account.id, customer.key.id)
    assert row.latency_ms > 0
    assert abs(timezone.now() - row.created_at) < dt.timedelta(minutes=1)
    assert len(customer.usage_entries()) == (1 if row.cost_nano else 0)


def make_dear_route() -> Route:
    route = live_route("dear", "http://127.0.0.1:9/v1")
    if route.price_version.output_nano < 10**12:
        route.price_version = make_price(output_nano=10**12)
        route.save(update_fields=["price_version"])
    return route


@pytest.mark.parametrize("method_and_path", [("GET", "/v1/nothing"), ("DELETE", CHAT)])
def test_what_is_refused_before_the_key_was_looked_at_leaves_no_row(customer, method_and_path):
    send(customer.gateway, *method_and_path, headers=customer.headers)
    assert status_of(customer) == 200
    assert [row.api for row in eventually(customer.requests)] == ["balance"]


def test_no_row_holds_a_free_text(customer, fake):
    """Neither an unknown model's name, nor what was said, nor who said it."""
    token = fake.script(answer(SECRET))
    said = {
        "user": SECRET,
        "metadata": {"person": SECRET},
        "session_id": SECRET,
        SECRET: SECRET,
        "extra_headers": {"User-Agent": SECRET},
    }
    assert customer.ask(SECRET, model=SECRET).status_code == 404
    assert customer.ask(f"{SECRET} {token}", **said).status_code == 200
    assert customer.ask(SECRET, temperature=SECRET).status_code == 400
    assert customer.get(f"/v1/models/{SECRET}").status_code == 404
    assert customer.get(f"/v1/generation?id={SECRET}").status_code == 400
    rows = eventually(customer.requests, lambda rows: len(rows) == 5)
    for row in rows:
        assert "078-05" not in str(model_to_dict(row))
        assert row.model in ("", "scripted")


@pytest.mark.parametrize("raw", [b'{"model": "x", ', b"\xff\xfe", b'"}, "answer": "x', b"[]"])
def test_nothing_is_kept_of_a_wrong_body(customer, raw):
    url = customer.gateway.url + CHAT
    headers = {**customer.headers, "Content-Type": "application/json"}
    assert requests.post(url, data=raw, headers=headers, timeout=10).status_code == 400
    assert customer.content(customer.settled_request().id) is None
