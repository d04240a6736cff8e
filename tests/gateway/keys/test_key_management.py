"""/v1/keys: keys that people make, change and end with a management key."""

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey
from gateway.keys import management as key_management
from tests.support.gateway.http_client import error_of, send, wait_for_log
from tests.support.gateway.key_manager import FIELDS, Manager, exactly, with_key
from tests.support.live import eventually
from tests.support.provider.scripts import answer

NO_SUCH_KEY = "There is no such key in this account."


@pytest.fixture
def alice(gateway):
    return Manager(gateway)


@pytest.fixture
def bob(gateway):
    return Manager(gateway)


# Making


def test_a_key_that_is_made_is_shown_once_and_works(alice, fake):
    made = alice.make(name="  CI ☀ ")
    assert set(made) == {"key", "data"}
    assert set(made["data"]) == FIELDS
    assert made["data"]["name"] == "CI ☀"
    assert keys.is_well_formed(made["key"])
    shown = with_key(alice.gateway, made["key"])
    assert shown.json()["data"]["hash"] == made["data"]["hash"]
    for path in ("", f"/{made['data']['hash']}"):
        assert made["key"] not in alice.manage("GET", path).text
    row = ApiKey.objects.get(pk=uuid.UUID(made["data"]["hash"]))
    assert (row.user, row.is_management, row.disabled_at) == (alice.user, False, None)


def test_every_rule_is_kept_and_shown(alice):
    until = timezone.now().replace(microsecond=0) + dt.timedelta(days=1)
    made = alice.make(
        expires_at=until.astimezone(dt.timezone(dt.timedelta(hours=5))).isoformat(),
        allowed_models=["scripted", "scripted"],
        allowed_networks=["127.0.0.1", "2001:DB8::/32"],
        requests_per_minute=5,
        retention_days=0,
        disabled=True,
        caps={"total": 5, "day": "0.000000001", "week": None},
    )["data"]
    assert dt.datetime.fromisoformat(made["expires_at"]) == until
    assert made["expires_at"].endswith("Z")
    assert made["allowed_models"] == ["scripted"]
    assert made["allowed_networks"] == ["127.0.0.1/32", "2001:db8::/32"]
    assert (made["requests_per_minute"], made["retention_days"]) == (5, 0)
    assert made["disabled"] is True
    assert made["caps"] == {"total": 5, "day": Decimal("1E-9"), "week": None, "month": None}


def test_nobody_has_keys_without_end(alice):
    missing = key_management.MAX_KEYS - 2
    ApiKey.objects.bulk_create(
        ApiKey(user=alice.user, name="one of many", digest=uuid.uuid4().hex) for _ in range(missing)
    )
    response = alice.manage("POST", "", {"name": "one too many"})
    assert (response.status_code, error_of(response)["code"]) == (403, "too_many_keys")
    keys.revoke(ApiKey.objects.filter(user=alice.user, name="one of many").first())
    assert alice.manage("POST", "", {"name": "the last"}).status_code == 201


# Changing


def test_what_is_not_named_stays(alice):
    made = alice.make(requests_per_minute=5, caps={"day": 1, "total": 2})["data"]
    path = f"/{made['hash']}"
    changed = exactly(alice.manage("PATCH", path, {"name": "renamed"}))["data"]
    assert changed == {**made, "name": "renamed"}
    changed = exactly(alice.manage("PATCH", path, {"caps": {"day": None, "month": 9}}))["data"]
    assert changed["caps"] == {"total": 2, "day": None, "week": None, "month": 9}
    assert exactly(alice.manage("PATCH", path, {}))["data"] == changed
    assert exactly(alice.manage("GET", path))["data"] == changed


def test_null_lifts_a_rule(alice):
    rules = {
        "expires_at": "2040-01-01T00:00:00Z",
        "allowed_models": ["scripted"],
        "allowed_networks": ["192.0.2.1"],
        "requests_per_minute": 5,
        "limit": 5,
    }
    made = alice.make(**rules)["data"]
    assert all(made[name] is not None for name in rules)
    lifted = alice.manage("PATCH", f"/{made['hash']}", dict.fromkeys(rules)).json()["data"]
    assert all(lifted[name] is None for name in rules)
    assert set(lifted["caps"].values()) == {None}


def test_one_limit_takes_the_place_of_all_caps(alice):
    made = alice.make(caps={"total": 1, "week": 2})["data"]
    body = {"limit": 3, "limit_reset": "monthly"}
    changed = alice.manage("PATCH", f"/{made['hash']}", body).json()["data"]
    assert changed["caps"] == {"total": None, "day": None, "week": None, "month": 3}
    # How often it begins anew stays as it is, unless that is named.
    for body, caps in (
        ({"limit": 4}, {"month": 4}),
        ({"limit": 5, "limit_reset": "daily"}, {"day": 5}),
        ({"limit": 6, "limit_reset": None}, {"total": 6}),
        ({"limit": None}, {}),
        ({"limit": 7}, {"total": 7}),
    ):
        changed = alice.manage("PATCH", f"/{made['hash']}", body).json()["data"]
        assert {name: cap for name, cap in changed["caps"].items() if cap is not None} == caps


def test_a_key_is_disabled_and_enabled_again(alice):
    made = alice.make()
    path = f"/{made['data']['hash']}"
    assert alice.manage("PATCH", path, {"disabled": True}).json()["data"]["disabled"] is True
    since = ApiKey.objects.get(pk=made["data"]["hash"]).disabled_at
    refused = with_key(alice.gateway, made["key"])
    assert refused.status_code == 401
    assert (
        error_of(refused)["message"]
        == "This key is disabled. Enable it in the dashboard, at /keys."
    )
    alice.manage("PATCH", path, {"disabled": True})
    assert ApiKey.objects.get(pk=made["data"]["hash"]).disabled_at == since
    alice.manage("PATCH", path, {"disabled": False})
    assert with_key(alice.gateway, made["key"]).status_code == 200


def test_a_cap_that_is_set_over_http_is_a_cap(alice, fake):
    made = alice.make(limit=0)
    token = fake.script(answer("Hello."))
    body = {"model": "scripted", "messages": [{"role": "user", "content": token}]}
    headers = {"Authorization": f"Bearer {made['key']}"}
    url = "/v1/chat/completions"
    refused = send(alice.gateway, "POST", url, headers=headers, json=body)
    assert refused.status_code == 402
    assert error_of(refused)["code"] == "key_limit_reached"
    assert "raise the cap" in error_of(refused)["message"]
    alice.manage("PATCH", f"/{made['data']['hash']}", {"limit": None})
    assert send(alice.gateway, "POST", url, headers=headers, json=body).status_code == 200


# Ending


def test_a_key_that_is_deleted_is_gone_for_good(alice):
    made = alice.make()
    path = f"/{made['data']['hash']}"
    assert alice.manage("DELETE", path).json() == {"deleted": True}
    refused = with_key(alice.gateway, made["key"])
    assert refused.status_code == 401
    message = "This key was revoked. Make a new one in the dashboard, at /keys."
    assert error_of(refused)["message"] == message
    for method, body in [("GET", None), ("PATCH", {"disabled": False}), ("DELETE", None)]:
        response = alice.manage(method, path, body)
        assert (response.status_code, error_of(response)["message"]) == (404, NO_SUCH_KEY)
    assert path[1:] not in {one["hash"] for one in alice.manage("GET").json()["data"]}


@pytest.mark.parametrize(
    ("method", "body"), [("PATCH", {"allowed_networks": None}), ("DELETE", None)]
)
def test_a_management_key_changes_none_of_its_kind_not_even_itself(alice, method, body):
    row = alice.management_key
    assert alice.manage("GET", f"/{row.id.hex}").json()["data"]["is_management"] is True
    response = alice.manage(method, f"/{row.id.hex}", body)
    assert (response.status_code, error_of(response)["code"]) == (403, "management_key")
    row.refresh_from_db()
    assert row.revoked_at is None


# Whose


@pytest.mark.parametrize(
    ("method", "body"), [("GET", None), ("PATCH", {"name": "mine"}), ("DELETE", None)]
)
def test_a_key_is_nobody_elses(alice, bob, method, body):
    path = f"/{alice.key.id.hex}"
    response = bob.manage(method, path, body)
    unknown = bob.manage(method, f"/{uuid.uuid4().hex}", body)
    for refused in (response, unknown):
        assert refused.status_code == 404
        assert (error_of(refused)["message"], error_of(refused)["code"]) == (
            NO_SUCH_KEY,
            "key_not_found",
        )
    alice.key.refresh_from_db()
    assert (alice.key.name, alice.key.revoked_at) == ("test", None)
    assert {one["hash"] for one in bob.manage("GET").json()["data"]} == {
        bob.key.id.hex,
        bob.management_key.id.hex,
    }


@pytest.mark.parametrize("key_hash", ["x", 32 * "g", 33 * "0", "%00", "{%s}" % (32 * "0")])
def test_what_is_no_hash_is_nobodys_key(alice, key_hash):
    assert alice.manage("GET", f"/{key_hash}").status_code == 404


def test_managing_leaves_rows_that_name_no_key(alice):
    made = alice.make(name="secret plan")
    alice.manage("PATCH", f"/{made['data']['hash']}", {"name": "secret plan B"})
    rows = eventually(alice.requests, lambda rows: len(rows) == 2)
    assert [(row.api, row.status, row.cost_nano) for row in rows] == [
        ("keys", 201, 0),
        ("keys", 200, 0),
    ]
    wait_for_log(alice.gateway)
    assert [alice.content(row.id) for row in rows] == [None, None]


# The list


def test_the_list_is_the_newest_first_in_pages(alice):
    made = [alice.make(name=f"key {number}")["data"]["hash"] for number in range(3)]
    hashes = [one["hash"] for one in alice.manage("GET").json()["data"]]
    assert hashes == [*reversed(made), alice.management_key.id.hex, alice.key.id.hex]
    page = alice.manage("GET", "?offset=1&limit=2").json()["data"]
    assert [one["hash"] for one in page] == hashes[1:3]
    assert alice.manage("GET", "?offset=5").json()["data"] == []


def test_disabled_keys_are_listed_when_asked_for(alice):
    disabled = alice.make(disabled=True)["data"]["hash"]
    for query, shown in {"": False, "?include_disabled=true": True}.items():
        listed = {one["hash"] for one in alice.manage("GET", query).json()["data"]}
        assert (disabled in listed) is shown


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999999999999", "offset"),
        ("offset=%D9%A5", "offset"),
    ],
)
def test_a_page_that_is_none_is_refused(alice, query, param):
    response = alice.manage("GET", f"?{query}")
    assert (response.status_code, error_of(response)["param"]) == (400, param)
