"""What a key may spend: set by one rule, shown and typed in the admin."""

import datetime as dt

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from accounts.models import ApiKey
from billing import key_caps
from billing.key_caps import CAPS, set_caps, sheet_of
from billing.key_spend import KeySheet
from billing.models import KeySpend
from tests.support.factories import cap_key, make_key, make_user

USD = 1_000_000_000
TODAY = dt.datetime.now(dt.UTC).date()


@pytest.fixture(autouse=True)
def _it_stays_today(monkeypatch):
    monkeypatch.setattr(key_caps, "_today", lambda: TODAY)


@pytest.fixture
def key(alice) -> ApiKey:
    return make_key(alice)[0]


def caps_of(key: ApiKey) -> dict:
    row = KeySpend.objects.get(key=key)
    return {period: getattr(row, f"{period}_cap_nano") for period in CAPS}


def test_a_key_that_never_spent_gets_its_caps(key):
    set_caps(key, {"day": 5, "total": 0})
    assert caps_of(key) == {"total": 0, "day": 5, "week": None, "month": None}
    assert KeySpend.objects.get(key=key).day == TODAY


def test_caps_that_are_not_named_stay_and_so_does_what_was_spent(key):
    cap_key(key, day_cap_nano=5, month_cap_nano=7)
    KeySpend.objects.update(total_nano=3, held_nano=2)
    set_caps(key, {"day": None, "week": 6})
    assert caps_of(key) == {"total": None, "day": None, "week": 6, "month": 7}
    row = KeySpend.objects.get(key=key)
    assert (row.total_nano, row.held_nano) == (3, 2)


def test_naming_no_cap_makes_no_row(key):
    set_caps(key, {})
    assert not KeySpend.objects.exists()


@pytest.mark.parametrize("caps", [{"day": -1}, {"year": 5}, {"day": 5, "": 5}])
def test_what_is_no_cap_is_refused_whole(key, caps):
    with pytest.raises(ValueError, match="not a cap"):
        set_caps(key, caps)
    assert not KeySpend.objects.exists()


def test_a_sheet_counts_the_periods_that_run_now(key):
    assert sheet_of(key) == KeySheet.fresh(TODAY)
    cap_key(key, day_cap_nano=5, today=dt.date(2020, 1, 1))
    KeySpend.objects.update(total_nano=9, day_nano=9, held_nano=1)
    sheet = sheet_of(ApiKey.objects.get(pk=key.pk))
    assert (sheet.spent["total"], sheet.spent["day"]) == (9, 0)
    assert (sheet.tightest, sheet.remaining) == ("day", 4)


@pytest.mark.parametrize(
    ("caps", "spent", "tightest"),
    [
        ({}, {}, None),
        ({"total": 9}, {}, "total"),
        ({"total": 9, "day": 5}, {}, "day"),
        ({"total": 9, "day": 5}, {"total": 8}, "total"),
        ({"week": 5, "month": 6}, {"week": 1, "month": 4}, "month"),
    ],
)
def test_the_tightest_cap_leaves_the_least(caps, spent, tightest):
    sheet = KeySheet.fresh(TODAY)
    sheet.caps.update(caps)
    sheet.spent.update(spent)
    assert sheet.tightest == tightest


# --- The admin -----------------------------------------------------------------------------------


@pytest.fixture
def operator(books, client):
    user = make_user("operator@example.org", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


def page(key: ApiKey) -> str:
    return reverse("admin:accounts_apikey_change", args=[key.pk])


def form_of(response) -> dict:
    """What the page's form would send if nothing were changed."""
    form = response.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None else value for name, value in values.items()}


def save(client, key: ApiKey, **changes):
    form = form_of(client.get(page(key)))
    names = [name for name in form if name.endswith("_at")]  # Dates are typed in two fields.
    plain = {name: value for name, value in form.items() if name not in names}
    return client.post(page(key), {**plain, **changes})


def test_caps_are_shown_and_typed_in_dollars(operator, client, key):
    set_caps(key, {"day": 2_500_000_000, "week": USD})
    form = form_of(client.get(page(key)))
    assert [form[f"{period}_cap_usd"] for period in CAPS] == ["", "2.5", "1.0", ""]
    assert save(client, key, total_cap_usd="10.000000001", week_cap_usd="").status_code == 302
    assert caps_of(key) == {
        "total": 10 * USD + 1,
        "day": 2_500_000_000,
        "week": None,
        "month": None,
    }


def test_saving_a_key_without_caps_makes_none(operator, client, key):
    assert save(client, key, requests_per_minute="5").status_code == 302
    assert ApiKey.objects.get(pk=key.pk).requests_per_minute == 5
    assert not KeySpend.objects.exists()


@pytest.mark.parametrize("typed", ["-1", "five", "0.0000000001", "1000001"])
def test_a_cap_that_is_none_is_refused(operator, client, key, typed):
    response = save(client, key, day_cap_usd=typed)
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == ["day_cap_usd"]
    assert not KeySpend.objects.exists()


@pytest.mark.parametrize("typed", ['"scripted"', "5", "[5]", '{"a": 1}'])
def test_models_that_are_no_list_of_slugs_are_refused(operator, client, key, typed):
    response = save(client, key, allowed_models=typed)
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == ["allowed_models"]


@pytest.mark.parametrize(
    "typed", ['"10.0.0.1"', "[5]", '["10.0.0.1/8"]', '["::ffff:10.0.0.1"]', '{"10.0.0.1": 1}']
)
def test_networks_that_are_none_are_refused(operator, client, key, typed):
    response = save(client, key, allowed_networks=typed)
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == ["allowed_networks"]


def test_who_may_only_look_sees_the_caps_too(books, client, key):
    set_caps(key, {"month": 1_250_000_000})
    viewer = make_user("viewer@example.org", is_staff=True)
    permission = Permission.objects.get(codename="view_apikey", content_type__app_label="accounts")
    viewer.user_permissions.add(permission)
    client.force_login(viewer)
    html = client.get(page(key)).content.decode()
    assert '<div class="readonly">1.25</div>' in html
    assert client.post(page(key), {"month_cap_usd": "9"}).status_code == 403
