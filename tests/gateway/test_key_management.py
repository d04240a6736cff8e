"""/v1/key and /v1/keys: keys that people make, change and end with a management key."""

import datetime as dt
import json
import uuid
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey
from billing.key_caps import CAPS, set_caps
from billing.models import KeySpend
from gateway import key_management
from tests.factories import make_key
from tests.gateway.http_client import error_of, send, wait_for_log
from tests.live import USD, Customer, eventually
from tests.provider_scripts import answer

FIELDS = {
    *("hash", "label", "name", "limit", "limit_remaining", "limit_reset", "usage", "usage_daily"),
    *("usage_weekly", "usage_monthly", "expires_at", "disabled", "created_at", "caps"),
    *("allowed_models", "allowed_networks", "requests_per_minute", "rate_limit"),
    *("retention_days", "is_management"),
}
NO_SUCH_KEY = "There is no such key in this account."


class Manager(Customer):
    """Somebody with a management key beside their ordinary one."""

    def __init__(self, gateway, **fields):
        super().__init__(gateway, **fields)
        self.management_key, self.management_text = make_key(self.user, is_management=True)

    def manage(self, method: str, path: str = "", body=None, *, raw: bytes | None = None):
        headers = {"Authorization": f"Bearer {self.management_text}"}
        headers["Content-Type"] = "application/json"
        data = raw if raw is not None or body is None else json.dumps(body)
        return send(self.gateway, method, f"/v1/keys{path}", headers=headers, data=data)

    def make(self, **body) -> dict:
        response = self.manage("POST", "", {"name": "made", **body})
        assert response.status_code == 201, response.text
        return exactly(response)


def exactly(response) -> dict:
    """The JSON of a response, its numbers as they were written."""
    return json.loads(response.text, parse_float=Decimal)


@pytest.fixture
def alice(gateway):
    return Manager(gateway)


@pytest.fixture
def bob(gateway):
    return Manager(gateway)


def with_key(gateway, text: str, path: str = "/v1/key"):
    return send(gateway, "GET", path, headers={"Authorization": f"Bearer {text}"})


# A key about itself


def test_a_key_tells_what_it_is(customer):
    shown = exactly(customer.get("/v1/key"))["data"]
    assert set(shown) == FIELDS
    key = customer.key
    assert shown["hash"] == key.id.hex
    assert shown["label"] == f"{customer.key_text[:9]}…{customer.key_text[-4:]}"
    assert dt.datetime.fromisoformat(shown["created_at"]) == key.created_at
    assert (shown["limit"], shown["limit_remaining"], shown["limit_reset"]) == (None, None, None)
    assert shown["caps"] == {"total": None, "day": None, "week": None, "month": None}
    assert (shown["allowed_models"], shown["allowed_networks"]) == (None, None)
    assert shown["rate_limit"] == {"requests": 30, "interval": "1m"}
    assert (shown["retention_days"], shown["is_management"]) == (90, False)
    assert key.digest not in customer.get("/v1/key").text


def test_usage_and_what_is_left_are_exact(customer, fake):
    set_caps(customer.key, {"total": USD, "week": 3_000_001})
    token = fake.script(answer("Hello", prompt_tokens=7, completion_tokens=3))
    customer.ask(token)
    cost = customer.settled_request().cost_nano
    shown = exactly(customer.get("/v1/key"))["data"]
    for name in ("usage", "usage_daily", "usage_weekly", "usage_monthly"):
        assert shown[name] * USD == cost == 7 * 100 + 3 * 400
    assert shown["limit"] == Decimal("0.003000001")
    assert (shown["limit_remaining"] * USD, shown["limit_reset"]) == (3_000_001 - cost, "weekly")


def test_what_was_spent_in_an_earlier_period_counts_no_more(customer):
    long_ago = dt.date(2020, 1, 1)
    KeySpend.objects.create(
        key=customer.key,
        **{"day": long_ago, "week": long_ago, "month": long_ago, "day_cap_nano": 50},
        **{"total_nano": 40, "day_nano": 30, "week_nano": 40, "month_nano": 40},
    )
    shown = exactly(customer.get("/v1/key"))["data"]
    assert shown["usage"] * USD == 40
    assert {shown[f"usage_{name}"] for name in ("daily", "weekly", "monthly")} == {0}
    assert shown["limit_remaining"] * USD == 50


def test_the_rate_shown_is_the_tighter_of_key_and_account(customer, gateway):
    ApiKey.objects.filter(pk=customer.key.pk).update(requests_per_minute=7)
    assert customer.get("/v1/key").json()["data"]["rate_limit"]["requests"] == 7
    unlimited = Customer(gateway, unlimited=True)
    assert unlimited.get("/v1/key").json()["data"]["rate_limit"]["requests"] is None


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


@pytest.mark.parametrize(
    ("written", "nano"),
    [
        ("0", 0),
        ("5", 5 * USD),
        ("0.1", 100_000_000),
        ("1e-9", 1),
        ("0.000000001", 1),
        ("1.10", 1_100_000_000),
        ("1E6", 10**6 * USD),
        ("12345.678901234", 12_345_678_901_234),
        ('"0.3"', 300_000_000),
        ('"12345.678901234"', 12_345_678_901_234),
        ("0.10000000000000000000000", 100_000_000),
    ],
)
def test_dollars_become_exact_nano_dollars(alice, written, nano):
    raw = b'{"name": "exact", "limit": %s}' % written.encode()
    response = alice.manage("POST", raw=raw)
    assert response.status_code == 201, response.text
    assert exactly(response)["data"]["limit"] * USD == nano
    row = KeySpend.objects.get(key__name="exact", key__user=alice.user)
    assert (row.total_cap_nano, row.day_cap_nano) == (nano, None)


@pytest.mark.parametrize("reset", ["daily", "weekly", "monthly", None])
def test_one_limit_as_openrouter_knows_it(alice, reset):
    made = alice.make(limit=2.5, limit_reset=reset)["data"]
    assert (made["limit"], made["limit_remaining"], made["limit_reset"]) == (
        *2 * (Decimal("2.5"),),
        reset,
    )
    capped = [period for period in CAPS if made["caps"][period] is not None]
    assert capped == [{"daily": "day", "weekly": "week", "monthly": "month", None: "total"}[reset]]


def test_nobody_has_keys_without_end(alice):
    missing = key_management.MAX_KEYS - 2
    ApiKey.objects.bulk_create(
        ApiKey(user=alice.user, name="one of many", digest=uuid.uuid4().hex) for _ in range(missing)
    )
    response = alice.manage("POST", "", {"name": "one too many"})
    assert (response.status_code, error_of(response)["code"]) == (403, "too_many_keys")
    keys.revoke(ApiKey.objects.filter(user=alice.user, name="one of many").first())
    assert alice.manage("POST", "", {"name": "the last"}).status_code == 201


# What is no key

REFUSED = {
    "nothing": ({"name": None}, "name"),
    "an empty name": ({"name": ""}, "name"),
    "a blank name": ({"name": "  "}, "name"),
    "a long name": ({"name": 65 * "x"}, "name"),
    "a NUL": ({"name": "a\0b"}, "name"),
    "a name that is none": ({"name": 5}, "name"),
    "a mistyped field": ({"limt": 5}, "limt"),
    "privilege": ({"is_management": True}, "is_management"),
    "somebody else": ({"user": "bob"}, "user"),
    "a key of one's own choice": ({"digest": 64 * "0"}, "digest"),
    "a mistyped cap": ({"caps": {"dya": 5}}, "caps.dya"),
    "a cap that is negative": ({"caps": {"day": -1}}, "caps.day"),
    "caps that are none": ({"caps": 5}, "caps"),
    "caps of null": ({"caps": None}, "caps"),
    "a negative limit": ({"limit": -0.5}, "limit"),
    "ten decimals": ({"limit": "0.0000000001"}, "limit"),
    "a float's dust": ({"limit": 0.1 + 0.2}, "limit"),
    "too much": ({"limit": 1_000_000.01}, "limit"),
    "a limit in words": ({"limit": "five"}, "limit"),
    "digits of another script": ({"limit": "٥"}, "limit"),
    "a limit of true": ({"limit": True}, "limit"),
    "a limit in a list": ({"limit": [5]}, "limit"),
    "two ways at once": ({"limit": 5, "caps": {"day": 5}}, "limit"),
    "a reset of nothing": ({"limit_reset": "daily"}, "limit_reset"),
    "a reset that is none": ({"limit": 5, "limit_reset": "hourly"}, "limit_reset"),
    "an end that is past": ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    "an end without a zone": ({"expires_at": "2040-01-01T00:00:00"}, "expires_at"),
    "an end of time": ({"expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
    "an end that is none": ({"expires_at": "soon"}, "expires_at"),
    "an end as a number": ({"expires_at": 2_000_000_000}, "expires_at"),
    "no model": ({"allowed_models": []}, "allowed_models"),
    "one model as a text": ({"allowed_models": "scripted"}, "allowed_models"),
    "an unknown model": ({"allowed_models": ["scripted", "x"]}, "allowed_models[1]"),
    "a NUL as a model": ({"allowed_models": ["scripted", "x\0"]}, "allowed_models[1]"),
    "no network": ({"allowed_networks": []}, "allowed_networks"),
    "a network with host bits": ({"allowed_networks": ["10.0.0.1/8"]}, "allowed_networks[0]"),
    "an address as a number": ({"allowed_networks": [1]}, "allowed_networks[0]"),
    "an IPv4 in disguise": ({"allowed_networks": ["::ffff:10.0.0.1"]}, "allowed_networks[0]"),
    "no request a minute": ({"requests_per_minute": 0}, "requests_per_minute"),
    "half a request": ({"requests_per_minute": 1.5}, "requests_per_minute"),
    "a retention that isn't offered": ({"retention_days": 91}, "retention_days"),
    "a retention of null": ({"retention_days": None}, "retention_days"),
    "a switch of 1": ({"disabled": 1}, "disabled"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_and_named(alice, case):
    fields, param = REFUSED[case]
    path = f"/{alice.key.id.hex}"
    for method, response in [
        ("POST", alice.manage("POST", "", {"name": "new", **fields})),
        ("PATCH", alice.manage("PATCH", path, fields)),
    ]:
        assert response.status_code == 400, f"{method}: {response.text}"
        error = error_of(response)
        assert (error["type"], error["param"]) == ("invalid_request_error", param)
        assert error["message"]
    assert ApiKey.objects.filter(user=alice.user).count() == 2
    assert not KeySpend.objects.filter(key__user=alice.user).exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"name": "a", "limit": 1, "limit": 2}',
        b'{"name": "a", "limit": NaN}',
        b'{"name": "a", "limit": 1e400}',
        b'{"name": "a", "limit": 1e-400000}',
        b'{"name": "a", "limit": 0e99999999999999999999999}',
        b'{"name": "a", "limit": 0.%s}' % (b"1" * 100_000),
    ],
)
def test_a_body_that_is_none_makes_no_key(alice, raw):
    response = alice.manage("POST", raw=raw)
    assert response.status_code == 400
    assert len(error_of(response)["message"]) < 300
    assert ApiKey.objects.filter(user=alice.user).count() == 2


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


def test_a_key_is_disabled_and_enabled_again(alice):
    made = alice.make()
    path = f"/{made['data']['hash']}"
    assert alice.manage("PATCH", path, {"disabled": True}).json()["data"]["disabled"] is True
    since = ApiKey.objects.get(pk=made["data"]["hash"]).disabled_at
    refused = with_key(alice.gateway, made["key"])
    assert refused.status_code == 401
    assert error_of(refused)["message"] == "This key is disabled. Enable it in the dashboard."
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
    message = "This key was revoked. Make a new one in the dashboard."
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
    for row in rows:
        assert made["key"].encode() not in alice.content(row.id)


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
