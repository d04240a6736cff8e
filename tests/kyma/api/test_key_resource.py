"""Keys at /api/keys: for the person, and for a key that may manage others."""

import datetime as dt

import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey
from tests.support.account_pages import PASSWORD
from tests.support.api_client import bearing, by_key, signed_in
from tests.support.factories import cap_key, make_key, make_model, make_user

pytestmark = pytest.mark.usefixtures("books")


def post(client, path: str, body: dict):
    return client.post(path, body, content_type="application/json")


def patch(client, path: str, body: dict):
    return client.patch(path, body, content_type="application/json")


def test_a_new_key_is_shown_once_and_works(alice):
    make_model("open/small")
    client = signed_in(alice)
    answer = post(
        client,
        "/api/keys",
        {
            "name": "CI",
            "scopes": ["account", "usage:read"],
            "caps": {"day": "0.50", "total": 20},
            "allowed_models": ["open/small"],
            "retention_days": 0,
        },
    )
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    made = answer.json()
    text = made.pop("key")
    assert bearing(text).get("/api/account").status_code == 200
    shown = client.get(f"/api/keys/{made['id']}").json()
    assert shown == made
    assert shown["label"] == f"{text[:9]}…{text[-4:]}"
    assert shown["scopes"] == ["account", "usage:read"]
    assert shown["caps"]["day"] == {"usd": "0.5", "nano": 500_000_000}
    assert shown["caps"]["total"]["usd"] == "20.0"
    assert shown["caps"]["week"] is None
    assert shown["spent"]["total"]["nano"] == 0
    assert (shown["retention_days"], shown["disabled"]) == (0, False)


def test_a_key_is_changed_field_by_field(alice):
    key, _ = make_key(alice, requests_per_minute=5)
    cap_key(key, day_cap_nano=7)
    client = signed_in(alice)
    shown = patch(client, f"/api/keys/{key.id}", {"disabled": True, "scopes": ["chat"]}).json()
    assert (shown["disabled"], shown["scopes"]) == (True, ["chat"])
    assert (shown["requests_per_minute"], shown["caps"]["day"]["nano"]) == (5, 7)
    shown = patch(client, f"/api/keys/{key.id}", {"disabled": False, "caps": {"day": None}}).json()
    assert (shown["disabled"], shown["caps"]["day"]) == (False, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "caps": {"day": -1}}, "caps.day"),
        ({"name": "x", "caps": {"day": "0.0000000001"}}, "caps.day"),
        ({"name": "x", "limit": 5}, "limit"),
        ({"name": "x", "is_management": True}, "is_management"),
        ({"name": "x", "scopes": ["all"]}, "scopes[0]"),
        ({"name": "x", "scopes": "keys"}, "scopes"),
        ({"name": "x", "allowed_models": ["nowhere"]}, "allowed_models[0]"),
        ({"name": "x", "allowed_networks": ["300.0.0.1"]}, "allowed_networks[0]"),
        ({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ],
)
def test_what_is_no_key_is_refused_by_field(body, field, alice):
    answer = post(signed_in(alice), "/api/keys", body)
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert not ApiKey.objects.exists()


def test_a_revoked_key_is_gone(alice):
    key, text = make_key(alice)
    client = signed_in(alice)
    assert client.delete(f"/api/keys/{key.id}").status_code == 204
    assert client.delete(f"/api/keys/{key.id}").status_code == 404
    assert client.get("/api/keys").json()["data"] == []
    with pytest.raises(keys.InvalidKey, match="revoked"):
        keys.authenticate(text)


def test_a_rotated_key_works_on_for_its_grace(alice):
    old, old_text = make_key(alice, scopes=["chat"])
    cap_key(old, day_cap_nano=7)
    answer = post(signed_in(alice), f"/api/keys/{old.id}/rotate", {"grace_hours": 2})
    made = answer.json()
    assert (answer.status_code, made["scopes"], made["caps"]["day"]["nano"]) == (201, ["chat"], 7)
    assert keys.authenticate(made["key"]).id != old.id
    left = keys.authenticate(old_text).expires_at - timezone.now()
    assert dt.timedelta(hours=1) < left <= dt.timedelta(hours=2)


@pytest.mark.parametrize("body", [{"grace_hours": -1}, {"grace_hours": 200}, {"grace": 1}])
def test_a_grace_has_an_end(body, alice):
    old, _ = make_key(alice)
    assert post(signed_in(alice), f"/api/keys/{old.id}/rotate", body).status_code == 400


def test_all_keys_are_listed_with_their_last_use(alice, bob):
    make_key(bob)
    made = [make_key(alice)[0], make_key(alice, is_management=True)[0]]
    told = signed_in(alice).get("/api/keys").json()["data"]
    assert {one["id"] for one in told} == {str(one.id) for one in made}
    assert [one["last_used_at"] for one in told] == [None, None]


# --- A key that manages others -------------------------------------------------------------------


def test_a_key_hands_on_no_more_than_it_has(alice):
    client = by_key(alice, scopes=["keys", "account"])
    assert post(client, "/api/keys", {"name": "x", "scopes": ["account"]}).status_code == 201
    for scope in ("privacy", "keys"):
        answer = post(client, "/api/keys", {"name": "x", "scopes": [scope]})
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_scopes")
    assert ApiKey.objects.count() == 2


def test_a_key_takes_over_none_that_has_more(alice):
    other, _ = make_key(alice, scopes=["privacy"], allowed_networks=["192.0.2.1"])
    asking, text = make_key(alice, scopes=["keys"], allowed_networks=["127.0.0.1"])
    client = bearing(text)
    for key in (other, asking):
        path = f"/api/keys/{key.id}"
        answers = [
            patch(client, path, {"allowed_networks": None}),
            post(client, f"{path}/rotate", {}),
            client.delete(path),
        ]
        assert {one.status_code for one in answers} == {403}
        assert client.get(path).status_code == 200
    plain, _ = make_key(alice)
    raised = patch(client, f"/api/keys/{plain.id}", {"scopes": ["privacy"]})
    assert raised.status_code == 403
    assert [one.state for one in ApiKey.objects.all()] == ["active"] * 3


@pytest.mark.parametrize("limit", ["caps", "allowed_models", "requests_per_minute"])
def test_a_key_with_limits_lifts_none_by_another_key(limit, alice):
    make_model("open/small")
    asking, text = make_key(alice, scopes=["keys"])
    other, _ = make_key(alice)
    if limit == "caps":
        cap_key(asking, day_cap_nano=7)
    else:
        value = {"allowed_models": ["open/small"], "requests_per_minute": 50}[limit]
        ApiKey.objects.filter(pk=asking.pk).update(**{limit: value})
    client, path = bearing(text), f"/api/keys/{other.id}"
    answers = [
        post(client, "/api/keys", {"name": "x"}),
        patch(client, path, {"caps": {"day": None}}),
        post(client, f"{path}/rotate", {}),
    ]
    assert {(one.status_code, one.json()["code"]) for one in answers} == {(403, "key_has_limits")}
    assert client.get("/api/keys").status_code == 200
    assert client.delete(path).status_code == 204
    assert ApiKey.objects.count() == 2


def test_a_key_that_ends_makes_none_that_ends_later(alice):
    end = timezone.now() + dt.timedelta(days=2)
    client = by_key(alice, scopes=["keys"], expires_at=end)
    lasting, _ = make_key(alice)
    path = f"/api/keys/{lasting.id}"
    later = {"expires_at": (end + dt.timedelta(seconds=1)).isoformat()}
    for answer in (
        post(client, "/api/keys", {"name": "x"}),
        post(client, "/api/keys", {"name": "x", **later}),
        patch(client, path, later),
        patch(client, path, {"expires_at": None}),
        post(client, f"{path}/rotate", {}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_end")
        assert answer.json()["errors"][0]["field"] == "expires_at"
    made = post(client, "/api/keys", {"name": "x", "expires_at": end.isoformat()})
    assert made.status_code == 201
    assert patch(client, path, {"name": "renamed"}).status_code == 200
    assert post(client, f"/api/keys/{made.json()['id']}/rotate", {}).status_code == 201


@pytest.mark.parametrize(
    ("own", "name", "too_much", "enough"),
    [
        ({"allowed_networks": ["127.0.0.0/30"]}, "allowed_networks", None, ["127.0.0.1"]),
        ({"retention_days": 0}, "retention_days", 90, 0),
    ],
)
def test_a_key_gives_no_other_more_networks_or_time(alice, own, name, too_much, enough):
    client = by_key(alice, scopes=["keys"], **own)
    other, _ = make_key(alice)
    path = f"/api/keys/{other.id}"
    for answer in (
        post(client, "/api/keys", {"name": "x"}),
        post(client, "/api/keys", {"name": "x", name: too_much}),
        patch(client, path, {name: too_much}),
        post(client, f"{path}/rotate", {}),
    ):
        assert answer.status_code == 403
        assert answer.json()["code"] in ("beyond_own_networks", "beyond_own_retention")
        assert answer.json()["errors"][0]["field"] == name
    assert ApiKey.objects.count() == 2
    assert patch(client, path, {"name": "renamed"}).status_code == 200
    made = post(client, "/api/keys", {"name": "x", name: enough})
    assert made.status_code == 201
    assert post(client, f"/api/keys/{made.json()['id']}/rotate", {}).status_code == 201


def test_who_is_signed_in_gives_what_they_like(alice):
    make_key(alice, scopes=["keys"], allowed_networks=["127.0.0.1"], retention_days=0)
    assert post(signed_in(alice), "/api/keys", {"name": "x", "scopes": ["keys"]}).status_code == 201


def test_nobody_changes_a_management_key_here(alice):
    key, _ = make_key(alice, is_management=True)
    client = signed_in(alice)
    assert patch(client, f"/api/keys/{key.id}", {"name": "x"}).status_code == 403
    assert client.delete(f"/api/keys/{key.id}").status_code == 403


# --- Scopes that a signed-in person gives --------------------------------------------------------


@pytest.fixture
def dora(books):
    return make_user("dora@example.org", password=PASSWORD)


@pytest.fixture
def givings(dora):
    """Each way to a key with more scopes: the path and the body."""
    key, _ = make_key(dora, scopes=["account"])
    return {
        "make": ("post", "/api/keys", {"name": "CI", "scopes": ["chat"]}, 201),
        "change": ("patch", f"/api/keys/{key.id}", {"scopes": ["account", "chat"]}, 200),
        "rotate": ("post", f"/api/keys/{key.id}/rotate", {}, 201),
    }


@pytest.mark.parametrize("way", ["make", "change", "rotate"])
def test_a_signed_in_person_confirms_first_who_they_are(dora, givings, way):
    method, path, body, status = givings[way]
    client = signed_in(dora)
    refused = getattr(client, method)(path, body, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")
    assert "/accounts/reauthenticate/" in refused.json()["detail"]
    key = ApiKey.objects.get()
    assert (key.scopes, key.state) == (["account"], "active")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    answer = getattr(client, method)(path, body, content_type="application/json")
    assert answer.status_code == status


def test_without_new_scopes_nothing_is_confirmed(dora):
    key, _ = make_key(dora, scopes=["account", "chat"])
    client = signed_in(dora)
    assert post(client, "/api/keys", {"name": "CI"}).status_code == 201
    assert patch(client, f"/api/keys/{key.id}", {"scopes": ["chat"]}).status_code == 200


def test_a_key_that_may_make_keys_confirms_nothing(dora):
    client = by_key(dora)
    assert post(client, "/api/keys", {"name": "CI", "scopes": ["chat"]}).status_code == 201
