"""Pages on which people make, change and end their keys."""

import datetime as dt
import zoneinfo

import pytest
from django.utils import timezone

from accounts import keys
from accounts.ids import uuid7
from accounts.models import ApiKey
from billing.key_caps import caps_of, set_caps
from gateway.keys import management as key_management
from tests.support.account_pages import PASSWORD, sign_in
from tests.support.factories import make_key, make_model, make_user

USD = 1_000_000_000


@pytest.fixture
def key(alice):
    return make_key(alice, name="scripts")[0]


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def new_rules(**fields) -> dict:
    return {"name": "scripts", "retention_days": "90", **fields}


def made(page, **fields) -> ApiKey:
    response = page.post("/keys/new", new_rules(**fields))
    assert response.status_code == 201, response.context["form"].errors
    return ApiKey.objects.get()


def errors_of(response) -> dict[str, list[str]]:
    assert response.status_code == 400
    return {field: list(texts) for field, texts in response.context["form"].errors.items()}


# --- The list ------------------------------------------------------------------------------------


def test_the_list_shows_keys_with_state_caps_and_spend(page, key, alice):
    make_key(alice, name="off", disabled_at=timezone.now())
    make_key(alice, name="over", expires_at=timezone.now())
    set_caps(key, {"day": USD // 2})
    text = page.get("/keys").content.decode()
    assert f"{key.start}…{key.end}" in text
    assert "$0.50 per day" in text
    assert [state in text for state in ("active", "disabled", "expired")] == [True] * 3
    assert "never" in text


def test_an_empty_list_says_what_to_do(page):
    text = page.get("/keys").content.decode()
    assert "Make your first key" in text
    assert "New key" not in text


def test_a_revoked_key_is_not_listed(page, key):
    keys.revoke(key)
    assert "scripts" not in page.get("/keys").content.decode()


def test_the_list_takes_as_many_queries_for_many_keys(
    page, key, alice, django_assert_max_num_queries
):
    for number in range(20):
        make_key(alice, name=f"key {number}")
    with django_assert_max_num_queries(6):
        page.get("/keys")


# --- Making --------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once_and_works(page, alice):
    response = page.post("/keys/new", new_rules())
    text = response.context["text"]
    assert keys.authenticate(text).user == alice
    assert text in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert text not in str(response.cookies)
    for path in ("/keys", f"/keys/{ApiKey.objects.get().id}"):
        assert text not in page.get(path).content.decode()


def test_every_rule_is_kept(page, alice):
    make_model("llama")
    page.cookies["timezone"] = "Asia/Tokyo"
    key = made(
        page,
        expires_at="2099-01-31T12:00",
        total_cap="20",
        day_cap="0.000000001",
        allowed_models=["llama"],
        requests_per_minute="5",
        allowed_networks="192.0.2.7\n\n 2001:DB8::/32 ",
        retention_days="0",
        scopes=["usage:read", "keys"],
    )
    assert key.expires_at == dt.datetime(2099, 1, 31, 12, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo"))
    assert caps_of(key) == {"total": 20 * USD, "day": 1, "week": None, "month": None}
    assert key.allowed_models == ["llama"]
    assert key.allowed_networks == ["192.0.2.7/32", "2001:db8::/32"]
    assert (key.requests_per_minute, key.retention_days) == (5, 0)
    assert key.scopes == ["usage:read", "keys"]
    assert not key.is_management


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", " ", "required"),
        ("day_cap", "-1", "greater than or equal to 0"),
        ("day_cap", "0.0000000001", "9 decimal"),
        ("day_cap", "NaN", "Enter a number"),
        ("total_cap", "1000001", "1000000"),
        ("expires_at", "2001-01-01T00:00", "has passed"),
        ("requests_per_minute", "0", "greater than or equal to 1"),
        ("retention_days", "91", "valid choice"),
        ("allowed_models", "no-such-model", "valid choice"),
        ("scopes", "everything", "valid choice"),
        ("allowed_networks", "192.0.2.0/24\n10.0.0.0/33", "Line 2, “10.0.0.0/33”: This is no"),
        ("allowed_networks", "10.0.0.1/8", "is written 10.0.0.0/8."),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(page, field, value, message):
    refused = errors_of(page.post("/keys/new", new_rules(**{field: value})))
    assert list(refused) == [field]
    assert message in refused[field][0]
    assert not ApiKey.objects.exists()


@pytest.fixture
def dora(client, books):
    """Is signed in, and hasn't confirmed it lately."""
    dora = make_user("dora@example.org", password=PASSWORD)
    sign_in(client, dora.email)
    return dora


RIGHTS = [{"is_management": "on"}, *({"scopes": [scope]} for scope in ApiKey.Scope.values)]


@pytest.mark.parametrize("rights", RIGHTS)
def test_making_a_key_with_rights_asks_first_who_it_is(client, dora, rights):
    asked = client.post("/keys/new", new_rules(**rights))
    assert asked["Location"].startswith("/accounts/reauthenticate/")
    assert not ApiKey.objects.exists()
    answer = client.post(asked["Location"], {"password": PASSWORD})
    assert answer.status_code == 201
    assert "no-store" in answer["Cache-Control"]
    key = ApiKey.objects.get()
    assert key.is_management or key.scopes == rights["scopes"]
    assert client.post("/keys/new", new_rules(**rights)).status_code == 201


def test_making_a_key_without_rights_asks_nothing(client, dora):
    assert client.post("/keys/new", new_rules()).status_code == 201


def test_giving_a_key_another_scope_asks_first_who_it_is_and_taking_one_does_not(client, dora):
    key, _ = make_key(dora, scopes=["account", "chat"])
    address = f"/keys/{key.id}"
    assert client.post(address, new_rules(scopes=["chat"]))["Location"] == address
    asked = client.post(address, new_rules(scopes=["chat", "keys"]))
    assert asked["Location"].startswith("/accounts/reauthenticate/")
    assert ApiKey.objects.get().scopes == ["chat"]
    assert client.post(asked["Location"], {"password": PASSWORD})["Location"] == address
    assert ApiKey.objects.get().scopes == ["chat", "keys"]


@pytest.mark.parametrize("rights", [{"is_management": True}, {"scopes": ["account"]}])
def test_rotating_a_key_with_rights_asks_first_who_it_is(client, dora, rights):
    (manager, _), (plain, _) = make_key(dora, **rights), make_key(dora)
    assert client.get(f"/keys/{manager.id}/rotate").status_code == 200
    assert client.post(f"/keys/{plain.id}/rotate", {"grace": "0"}).status_code == 201
    asked = client.post(f"/keys/{manager.id}/rotate", {"grace": "0"})
    assert asked["Location"].startswith("/accounts/reauthenticate/")
    assert ApiKey.objects.get(pk=manager.pk).state == "active"
    assert client.post(asked["Location"], {"password": PASSWORD}).status_code == 201
    assert ApiKey.objects.get(pk=manager.pk).state == "revoked"


def test_what_a_key_is_it_stays(page, key):
    page.post(f"/keys/{key.id}", new_rules(is_management="on"))
    key.refresh_from_db()
    assert not key.is_management


def test_nobody_makes_keys_without_end(page, key, monkeypatch):
    monkeypatch.setattr(key_management, "MAX_KEYS", 1)
    refused = errors_of(page.post("/keys/new", new_rules()))
    assert "There are 1 keys already" in refused["__all__"][0]


# --- Changing ------------------------------------------------------------------------------------


def test_a_key_changes_and_what_is_emptied_is_lifted(page, key):
    set_caps(key, {"day": USD})
    path = f"/keys/{key.id}"
    assert 'value="1"' in page.get(path).content.decode()
    response = page.post(path, new_rules(name="renamed", week_cap="2.5", retention_days="7"))
    assert (response.status_code, response["Location"]) == (302, path)
    key = ApiKey.objects.get()
    assert (key.name, key.retention_days) == ("renamed", 7)
    assert caps_of(key) == {"total": None, "day": None, "week": 5 * USD // 2, "month": None}


def test_a_key_that_has_expired_can_be_renamed_and_prolonged(page, key):
    end = timezone.now().replace(second=0, microsecond=0) - dt.timedelta(days=1)
    ApiKey.objects.update(expires_at=end)
    same = new_rules(name="renamed", expires_at=f"{end:%Y-%m-%dT%H:%M}")
    assert page.post(f"/keys/{key.id}", same).status_code == 302
    key.refresh_from_db()
    assert (key.name, key.expires_at) == ("renamed", end)
    page.post(f"/keys/{key.id}", new_rules(expires_at=""))
    key.refresh_from_db()
    assert key.expires_at is None


def test_a_model_that_is_switched_off_stays_allowed(page, key):
    make_model("gone", enabled=False)
    ApiKey.objects.update(allowed_models=["gone"])
    assert 'value="gone"' in page.get(f"/keys/{key.id}").content.decode()
    page.post(f"/keys/{key.id}", new_rules(allowed_models=["gone"]))
    key.refresh_from_db()
    assert key.allowed_models == ["gone"]


def test_a_key_is_disabled_and_enabled(page, key):
    page.post(f"/keys/{key.id}/disable")
    assert ApiKey.objects.get().state == ApiKey.State.DISABLED
    page.post(f"/keys/{key.id}/enable")
    assert ApiKey.objects.get().state == ApiKey.State.ACTIVE


def test_revoking_asks_first(page, key):
    path = f"/keys/{key.id}/revoke"
    assert "for good" in page.get(path).content.decode()
    assert ApiKey.objects.get().state == ApiKey.State.ACTIVE
    assert page.post(path)["Location"] == "/keys"
    assert ApiKey.objects.get().state == ApiKey.State.REVOKED
    assert page.post(path).status_code == 404


def test_a_key_is_rotated_with_its_caps(page, key):
    set_caps(key, {"month": USD})
    response = page.post(f"/keys/{key.id}/rotate", {"grace": "24"})
    assert "no-store" in response["Cache-Control"]
    new = keys.authenticate(response.context["text"])
    assert (new.name, caps_of(new)["month"]) == (key.name, USD)
    key.refresh_from_db()
    assert key.state == ApiKey.State.ACTIVE
    left = key.expires_at - timezone.now()
    assert dt.timedelta(hours=23) < left <= dt.timedelta(hours=24)


def test_a_key_that_has_ended_is_not_rotated(page, key):
    ApiKey.objects.update(expires_at=timezone.now())
    response = page.post(f"/keys/{key.id}/rotate", {"grace": "0"}, follow=True)
    assert "has ended already" in response.content.decode()
    assert ApiKey.objects.count() == 1


def test_without_a_choice_nothing_is_rotated(page, key):
    page.post(f"/keys/{key.id}/rotate", {"grace": "1000"})
    assert ApiKey.objects.count() == 1


# --- Who may -------------------------------------------------------------------------------------

ACTIONS = ["", "/rotate", "/disable", "/enable", "/revoke"]


def form_of(action: str) -> dict:
    return new_rules(name="changed") if action == "" else {"grace": "0"}


@pytest.mark.parametrize("action", ACTIONS)
def test_somebody_elses_key_is_not_there(client, key, bob, action):
    client.force_login(bob)
    for method in (client.get, client.post):
        response = method(f"/keys/{key.id}{action}", form_of(action))
        assert response.status_code in (404, 405)
    key.refresh_from_db()
    assert (key.name, key.state) == ("scripts", ApiKey.State.ACTIVE)
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_a_stranger_is_sent_to_sign_in(client, key, action):
    response = client.post(f"/keys/{key.id}{action}", form_of(action))
    assert response.status_code == 302
    assert "login" in response["Location"]
    key.refresh_from_db()
    assert (key.name, key.state) == ("scripts", ApiKey.State.ACTIVE)


def test_its_owner_does_all_that_with_a_management_key_too(page, alice):
    key, _ = make_key(alice, name="manager", is_management=True)
    assert "This is a management key" in page.get(f"/keys/{key.id}").content.decode()
    states = []
    for action in ("", "/disable", "/enable", "/rotate"):
        assert page.post(f"/keys/{key.id}{action}", form_of(action)).status_code in (201, 302)
        key.refresh_from_db()
        states.append((key.name, key.state))
    assert states == [("changed", state) for state in ("active", "disabled", "active", "revoked")]
    new = ApiKey.objects.get(revoked_at=None)
    assert new.is_management
    assert page.post(f"/keys/{new.id}/revoke").status_code == 302
    assert not ApiKey.objects.filter(revoked_at=None).exists()


@pytest.mark.parametrize("action", ["/disable", "/enable"])
def test_a_get_changes_nothing(page, key, action):
    assert page.get(f"/keys/{key.id}{action}").status_code == 405


def test_other_methods_are_refused(page, key):
    assert page.post("/keys").status_code == 405
    assert page.put("/keys/new").status_code == 405
    assert page.delete(f"/keys/{key.id}").status_code == 405


def test_a_key_that_never_was_is_not_there(page):
    assert page.get(f"/keys/{uuid7()}").status_code == 404
