"""What a body at /v1/keys may say: exact dollars, and nothing that isn't known."""

from decimal import Decimal

import pytest

from accounts.models import ApiKey
from billing.key_caps import CAPS
from billing.models import KeySpend
from tests.support.gateway.http_client import error_of
from tests.support.gateway.key_manager import Manager, exactly
from tests.support.live import USD


@pytest.fixture
def alice(gateway):
    return Manager(gateway)


# Dollars


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


# What is refused

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
        b'{"name": "a", "limit": 0.%s}' % (b"1" * 60_000),
    ],
)
def test_a_body_that_is_none_makes_no_key(alice, raw):
    response = alice.manage("POST", raw=raw)
    assert response.status_code == 400
    assert len(error_of(response)["message"]) < 300
    assert ApiKey.objects.filter(user=alice.user).count() == 2
