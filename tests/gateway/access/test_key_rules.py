"""What a key allows by itself: where it works, which models, and what it is for."""

from ipaddress import ip_network

import orjson
import pytest

from accounts.models import ApiKey
from gateway.access.rules import check_networks
from gateway.errors import Forbidden
from gateway.models import ApiRequest
from tests.gateway.conftest import live_route
from tests.support.gateway.http_client import GET_PATHS, HELLO, error_of, send, use, wait_for_log
from tests.support.gateway.wire_client import CHAT
from tests.support.live import Customer, Gateway, eventually
from tests.support.provider.scripts import answer

ELSEWHERE = "203.0.113.7"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"


@pytest.fixture(scope="module")
def _behind_a_proxy(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), Gateway(TRUSTED_PROXY_COUNT="1") as gateway:
        yield gateway


@pytest.fixture
def proxied(committed, scripted, _behind_a_proxy):
    """A gateway that believes the last entry of X-Forwarded-For."""
    return _behind_a_proxy


def ruled(gateway, **rules) -> Customer:
    """Somebody whose key has these rules."""
    customer = Customer(gateway)
    ApiKey.objects.filter(pk=customer.key.pk).update(**rules)
    return customer


def forbidden(response) -> dict:
    assert response.status_code == 403
    error = error_of(response)
    assert error["type"] == "permission_error"
    assert error["metadata"] == {"error_type": "permission_denied"}
    return error


# Addresses


@pytest.mark.parametrize(
    "networks", [["127.0.0.1"], ["127.0.0.0/8"], ["2001:db8::/32", "127.0.0.1"], ["0.0.0.0/0"]]
)
def test_a_key_works_where_it_may(gateway, networks):
    assert ruled(gateway, allowed_networks=networks).ask("Hello").status_code == 200


@pytest.mark.parametrize("path", [CHAT, *GET_PATHS])
def test_a_key_works_nowhere_else(gateway, path):
    customer = ruled(gateway, allowed_networks=["192.0.2.0/24", "::/0"])
    response = use(gateway, path, customer.headers)
    assert forbidden(response)["code"] == "ip_not_allowed"
    for told in ("192.0.2", "::/0", "127.0.0.1"):
        assert told not in response.text
    assert customer.settled_request().outcome == ApiRequest.Outcome.REFUSED
    assert customer.usage_entries() == []


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP"])
def test_without_a_proxy_no_header_claims_an_address(gateway, header):
    customer = ruled(gateway, allowed_networks=[ELSEWHERE])
    value = f"for={ELSEWHERE}" if header == "Forwarded" else ELSEWHERE
    headers = {**customer.headers, header: value}
    response = send(gateway, "POST", CHAT, headers=headers, json=HELLO)
    assert forbidden(response)["code"] == "ip_not_allowed"


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        (ELSEWHERE, 200),
        (f"127.0.0.1, {ELSEWHERE}", 200),
        (f"::ffff:{ELSEWHERE}", 200),
        (f"[::ffff:{ELSEWHERE}]:4711", 200),
        (f"{ELSEWHERE}, 127.0.0.1", 403),
        (f"{ELSEWHERE}, garbage", 403),
        ("", 403),
        (None, 403),
    ],
)
def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_saw(proxied, forwarded, status):
    customer = ruled(proxied, allowed_networks=[ELSEWHERE])
    headers = {**customer.headers, "X-Forwarded-For": forwarded}
    assert send(proxied, "POST", CHAT, headers=headers, json=HELLO).status_code == status
    content = customer.content(customer.settled_request().id)
    if status == 200:
        assert orjson.loads(content)["ip"] == ELSEWHERE
    else:
        assert content is None


@pytest.mark.parametrize("address", ["", "unix:", f"{ELSEWHERE}:http"])
def test_an_address_that_cannot_be_read_is_in_no_network(address):
    with pytest.raises(Forbidden):
        check_networks([ip_network("0.0.0.0/0"), ip_network("::/0")], address)


# Models


@pytest.fixture
def other_model(gateway, fake):
    live_route("other", fake.base_url)
    eventually(lambda: "other" in listed(Customer(gateway)))


def listed(customer) -> set[str]:
    return {model["id"] for model in customer.get("/v1/models").json()["data"]}


def test_a_key_uses_only_its_models(gateway, fake, other_model):
    customer = ruled(gateway, allowed_models=["scripted"])
    token = fake.script(answer("Hello."))
    for model in ("scripted", "scripted:nitro", "scripted:floor"):
        assert customer.ask(token, model=model).status_code == 200
    for model in ("other", "other:nitro"):
        error = forbidden(customer.ask(token, model=model))
        assert (error["code"], error["param"]) == ("model_not_allowed", "model")
        assert error["message"].startswith("This key may not use other.")
    assert fake.count(token) == 3
    assert len(customer.usage_entries()) == 3


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
def test_no_dialect_leads_around_that(gateway, other_model, path):
    customer = ruled(gateway, allowed_models=["scripted"])
    body = {"model": "other", "max_tokens": 5, "messages": HELLO["messages"]}
    if path == RESPONSES:
        body = {"model": "other", "input": "Hello"}
    response = send(gateway, "POST", path, headers=customer.headers, json=body)
    assert response.status_code == 403
    assert "This key may not use other." in response.text
    assert customer.usage_entries() == []


def test_a_model_that_is_none_is_told_as_one_whatever_the_key_allows(gateway):
    response = ruled(gateway, allowed_models=["scripted"]).ask("Hello", model="nope")
    assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")


def test_a_key_sees_only_its_models(gateway, other_model):
    customer = ruled(gateway, allowed_models=["scripted", "gone"])
    assert listed(customer) == {"scripted"}
    assert customer.get("/v1/models/scripted").status_code == 200
    shown = customer.get("/v1/models/other")
    assert (shown.status_code, error_of(shown)["code"]) == (404, "model_not_found")


# Management


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, "/v1/messages/count_tokens"])
def test_a_management_key_asks_no_model(gateway, fake, path):
    customer = ruled(gateway, is_management=True)
    response = send(gateway, "POST", path, headers=customer.headers, json=HELLO)
    assert response.status_code == 403
    assert "This is a management key" in response.text
    row = customer.settled_request()
    assert (row.status, row.outcome, row.hold_nano) == (403, ApiRequest.Outcome.REFUSED, 0)


MANAGED = ["/v1/key", "/v1/keys", "/v1/credits/balance", "/v1/credits", "/v1/auth/limits"]
NOT_MANAGED = [path for path in GET_PATHS if path not in MANAGED]


@pytest.mark.parametrize("path", MANAGED)
def test_a_management_key_reads_what_it_manages(gateway, path):
    assert ruled(gateway, is_management=True).get(path).status_code == 200


@pytest.mark.parametrize("path", NOT_MANAGED)
def test_a_management_key_reads_nothing_else(gateway, path):
    response = ruled(gateway, is_management=True).get(path)
    assert forbidden(response)["code"] == "management_key"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("GET", "/v1/keys/{own}"),
        ("PATCH", "/v1/keys/{own}"),
        ("DELETE", "/v1/keys/{own}"),
    ],
)
def test_an_ordinary_key_manages_none_not_even_itself(customer, method, path):
    path = path.format(own=customer.key.id.hex)
    response = send(customer.gateway, method, path, headers=customer.headers, json={"name": "x"})
    assert forbidden(response)["code"] == "management_key_required"
    wait_for_log(customer.gateway)
    assert [(row.api, row.status) for row in customer.requests()] == [("keys", 403)]
    customer.key.refresh_from_db()
    assert (customer.key.name, customer.key.revoked_at) == ("test", None)
    assert ApiKey.objects.filter(user=customer.user).count() == 1
