"""What is switched off is off in every process within two seconds, and can be switched on again."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db.models import Model as Row
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, User
from gateway.models import Model, Provider, Route
from tests.gateway.conftest import live_route
from tests.support.gateway.http_client import send
from tests.support.gateway.wire_client import CHAT
from tests.support.live import Customer, Gateway, eventually

WITHIN_S = 2.0
# What a process keeps of the database it keeps as long as in production.
BY_DEFAULT = {"CACHE_TTL_S": "1"}


@pytest.fixture(scope="module")
def _two_by_default(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), Gateway(**BY_DEFAULT) as one, Gateway(**BY_DEFAULT) as other:
        yield one, other


@pytest.fixture
def both(committed, scripted, _two_by_default):
    """Two gateway processes with the default cache."""
    return _two_by_default


@dataclasses.dataclass(frozen=True)
class Switch:
    """Something that can be switched off, and how a caller notices: by what status."""

    row: Row
    off: dict
    on: dict | None
    customer: Customer
    model: str
    refusal: int

    def turn(self, fields: dict) -> None:
        type(self.row).objects.filter(pk=self.row.pk).update(**fields)

    def status(self, gateway: Gateway) -> int:
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello"}]}
        return send(gateway, "POST", CHAT, headers=self.customer.headers, json=body).status_code

    def last_answered_s(self, gateway: Gateway, since: float) -> float:
        """When this process was last asked what it answered, in seconds after `since`."""
        last_s = 0.0
        while True:
            asked_s = time.monotonic() - since
            if self.status(gateway) == self.refusal:
                return last_s
            last_s = asked_s
            assert asked_s < 10 * WITHIN_S


def enabled(row: Row, customer: Customer, model: str) -> Switch:
    return Switch(row, {"enabled": False}, {"enabled": True}, customer, model, 404)


def make_switches(gateway: Gateway, fake) -> dict[str, Switch]:
    routes = {
        name: live_route(f"kill-{name}", fake.base_url) for name in ("route", "model", "provider")
    }
    live_route("kill-consent", fake.base_url, self_hosted=False)  # It says nothing of its data.
    customers = (Customer(gateway, unlimited=True) for _ in range(5))
    alice, suspended, disabled, revoked, willing = customers
    User.objects.filter(pk=willing.user.pk).update(provider_choice="stored")
    now = timezone.now()
    return {
        "route": enabled(routes["route"], alice, "kill-route"),
        "model": enabled(routes["model"].model, alice, "kill-model"),
        "provider": enabled(routes["provider"].provider, alice, "kill-provider"),
        "account": Switch(
            suspended.user,
            {"state": User.State.SUSPENDED},
            {"state": User.State.ACTIVE},
            suspended,
            "scripted",
            403,
        ),
        "consent": Switch(
            willing.user,
            {"provider_choice": "none"},
            {"provider_choice": "stored"},
            willing,
            "kill-consent",
            404,
        ),
        "key": Switch(
            disabled.key, {"disabled_at": now}, {"disabled_at": None}, disabled, "scripted", 401
        ),
        "revocation": Switch(revoked.key, {}, None, revoked, "scripted", 401),
    }


def is_on(switch: Switch, both) -> bool:
    return all(switch.status(gateway) == 200 for gateway in both)


def test_everything_is_off_in_every_process_within_two_seconds(both, fake):
    switches = make_switches(both[0], fake)
    assert {type(one.row) for one in switches.values()} == {Route, Model, Provider, User, ApiKey}
    for switch in switches.values():
        eventually(lambda switch=switch: is_on(switch, both))

    since = {}
    for name, switch in switches.items():
        if name == "revocation":
            keys.revoke(switch.row)
        else:
            switch.turn(switch.off)
        since[name] = time.monotonic()
    with ThreadPoolExecutor(2 * len(switches)) as threads:
        asking = {
            (name, gateway.port): threads.submit(switch.last_answered_s, gateway, since[name])
            for name, switch in switches.items()
            for gateway in both
        }
    last_s = {what: one.result() for what, one in asking.items()}
    assert max(last_s.values()) <= WITHIN_S, last_s
    for switch in switches.values():
        assert [switch.status(gateway) for gateway in both] == 2 * [switch.refusal]

    for switch in switches.values():
        if switch.on is not None:
            switch.turn(switch.on)
            eventually(lambda switch=switch: is_on(switch, both))
    assert switches["revocation"].status(both[1]) == 401  # For good.
