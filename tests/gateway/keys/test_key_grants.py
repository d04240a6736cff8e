"""What a management key may hand on at /v1/keys: no more than it has itself."""

import datetime as dt

import pytest
from django.utils import timezone

from accounts.models import ApiKey
from gateway.errors import Forbidden
from gateway.keys import grants as key_grants
from tests.support.factories import cap_key
from tests.support.gateway.http_client import error_of
from tests.support.gateway.key_manager import Manager

END = timezone.now().replace(microsecond=0) + dt.timedelta(days=2)
LATER = END + dt.timedelta(seconds=1)
# Of the management key, by what is stored; what is too much of it; and what is enough.
BOUNDS = {
    "expires_at": (END, [None, LATER.isoformat()], END.isoformat()),
    "allowed_networks": (
        ["127.0.0.0/30", "2001:db8::/32"],
        [None, ["0.0.0.0/0"], ["127.0.0.1", "127.0.0.4"], ["127.0.0.0/29"], ["2001:db9::1"]],
        ["127.0.0.1", "127.0.0.0/30", "2001:db8:5::/48"],
    ),
    "retention_days": (7, [30], 7),
}
CODES = {
    "expires_at": "beyond_own_end",
    "allowed_networks": "beyond_own_networks",
    "retention_days": "beyond_own_retention",
}


@pytest.fixture
def manager(gateway):
    """Makes somebody whose management key has these rules."""

    def make(**rules) -> Manager:
        alice = Manager(gateway)
        ApiKey.objects.filter(pk=alice.management_key.pk).update(**rules)
        return alice

    return make


def is_beyond(response, name: str) -> bool:
    error = error_of(response)
    return (response.status_code, error["code"], error["param"]) == (403, CODES[name], name)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_management_key_makes_none_that_has_more(manager, name):
    bound, too_much, enough = BOUNDS[name]
    alice = manager(**{name: bound})
    assert is_beyond(alice.manage("POST", "", {"name": "by default"}), name)
    for value in too_much:
        assert is_beyond(alice.manage("POST", "", {"name": "x", name: value}), name)
    assert ApiKey.objects.filter(user=alice.user).count() == 2
    assert alice.manage("POST", "", {"name": "x", name: enough}).status_code == 201


@pytest.mark.parametrize("name", BOUNDS)
def test_a_management_key_gives_more_to_none_that_there_is(manager, name):
    bound, too_much, enough = BOUNDS[name]
    alice = manager(**{name: bound})
    path = f"/{alice.key.id.hex}"
    before = ApiKey.objects.values().get(pk=alice.key.pk)
    for value in too_much:
        assert is_beyond(alice.manage("PATCH", path, {name: value}), name)
    assert ApiKey.objects.values().get(pk=alice.key.pk) == before
    # What it has already it may keep.
    assert alice.manage("PATCH", path, {"name": "renamed"}).status_code == 200
    assert alice.manage("PATCH", path, {name: enough}).status_code == 200


@pytest.mark.parametrize("limit", ["caps", "allowed_models", "requests_per_minute"])
def test_a_management_key_with_limits_lists_and_revokes_alone(manager, limit):
    stored = {"allowed_models": ["scripted"], "requests_per_minute": 50}
    alice = manager(**({limit: stored[limit]} if limit in stored else {}))
    if limit == "caps":
        cap_key(alice.management_key, day_cap_nano=7)
    path = f"/{alice.key.id.hex}"
    for response in (
        alice.manage("POST", "", {"name": "x"}),
        alice.manage("PATCH", path, {"requests_per_minute": None}),
    ):
        assert (response.status_code, error_of(response)["code"]) == (403, "key_has_limits")
    assert len(alice.manage("GET").json()["data"]) == 2
    assert alice.manage("DELETE", path).status_code == 200


def test_a_management_key_manages_those_that_have_scopes(manager):
    alice = manager()
    ApiKey.objects.filter(pk=alice.key.pk).update(scopes=["keys", "privacy"])
    path = f"/{alice.key.id.hex}"
    assert alice.manage("PATCH", path, {"retention_days": 0}).status_code == 200
    assert alice.manage("DELETE", path).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("own", ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"])
def test_a_network_is_within_itself_and_in_none_of_another_kind(own):
    others = {"10.0.0.0/8", "2001:db8::/32", "192.0.2.1"} - {own}
    key = ApiKey(allowed_networks=[own])
    key_grants.check(key, {"allowed_networks": [own]})
    for other in others:
        with pytest.raises(Forbidden, match="works only from"):
            key_grants.check(key, {"allowed_networks": [own, other]})
