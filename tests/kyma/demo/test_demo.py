"""The demo: an account with a past, right in the books, and gone without a trace."""

import datetime as dt
import io

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.utils import timezone

from accounts.keyring.models import DataKey
from accounts.models import ApiKey, User
from billing.models import LedgerEntry
from chat.models import Conversation, Message
from gateway.analytics import usage
from gateway.log import content
from gateway.models import ApiRequest, RequestContent, ServiceHour, UsageHour
from kyma.demo import making
from privacy import data_map
from tests.support.books import differences
from tests.support.factories import make_key, make_model, make_price, make_request, make_route

pytestmark = pytest.mark.usefixtures("books")
DAYS = 3


@pytest.fixture
def routes():
    price = make_price(input_nano=100_000_001, request_nano=7)
    return [make_route(make_model().slug, price=price) for _ in range(3)]


@pytest.fixture
def made(routes) -> making.Demo:
    return making.make(days=DAYS, a_day=24)


def the_demo() -> User:
    return User.objects.get(email=making.EMAIL)


def test_it_can_sign_in_and_has_keys_requests_and_conversations(made, client):
    assert client.login(username=making.EMAIL, password=made.password)
    assert made.requests == ApiRequest.objects.count() > 10
    assert made.conversations == Conversation.objects.count() >= 1
    assert {"website", "nightly batch"} <= set(ApiKey.objects.values_list("name", flat=True))
    for path in ("/keys", "/requests"):
        assert client.get(path).status_code == 200


def test_the_books_are_right(made):
    assert differences(timezone.now()) == []
    assert LedgerEntry.objects.filter(kind="usage").count() > 10


def test_it_happened_in_the_days_before_and_nothing_in_the_last_hour(made):
    times = ApiRequest.objects.values_list("created_at", flat=True)
    now = timezone.now()
    assert now - dt.timedelta(days=DAYS, hours=2) < min(times)
    assert max(times) < now - dt.timedelta(minutes=59)
    entries = LedgerEntry.objects.order_by("id").values_list("created_at", flat=True)
    milliseconds = [int(at.timestamp() * 1000) for at in entries]
    assert milliseconds == sorted(milliseconds)


def test_what_a_key_has_spent_belongs_to_the_days_of_its_requests(made):
    for key in ApiKey.objects.filter(spend__isnull=False).select_related("spend"):
        spend, requests = key.spend, ApiRequest.objects.filter(key=key)
        assert spend.day == max(row.created_at for row in requests if row.cost_nano).date()
        for start, spent_nano in ((spend.day, spend.day_nano), (spend.month, spend.month_nano)):
            since = [row for row in requests if row.created_at.date() >= start]
            assert spent_nano == sum(row.cost_nano for row in since)
        assert spend.total_nano == sum(row.cost_nano for row in requests)
    caps = ApiKey.objects.get(name="website").spend
    assert caps.month_cap_nano == 20 * 10**9


def test_usage_adds_up_to_the_ledger(made):
    now = timezone.now()
    account = the_demo().credit_account
    asked = usage.Filter(account_id=account.id, since=now - dt.timedelta(days=9), until=now)
    spent = sum(LedgerEntry.objects.filter(kind="usage").values_list("amount_nano", flat=True))
    assert usage.total(asked).cost_nano == -spent
    assert UsageHour.objects.filter(account=account).exists()


def test_content_is_readable_where_the_key_keeps_it(made, client):
    client.force_login(the_demo())
    row = ApiRequest.objects.get(pk=RequestContent.objects.first().id)
    assert client.get(f"/requests/{row.id}").context["told"].answers
    kept_nothing = ApiRequest.objects.filter(key__retention_days=0)
    assert kept_nothing.exists()
    assert not any(content.row_of(row.id, row.account_id) for row in kept_nothing)


def test_a_reply_names_its_request_and_what_it_cost(made):
    for reply in Message.objects.filter(role="assistant"):
        assert reply.cost_nano == ApiRequest.objects.get(pk=reply.request_id).cost_nano > 0


def test_nothing_is_left_of_it_and_everybody_else_stays(made, alice, routes):
    make_key(alice)
    make_request(alice.credit_account)
    person = the_demo().id
    assert all(rows.exists() for model, rows in data_map.rows_of(person) if model is ApiRequest)
    making.remove()
    assert [model.__name__ for model, rows in data_map.rows_of(person) if rows.exists()] == []
    assert not DataKey.objects.filter(owner=person).exists()
    assert (User.objects.get(), ApiKey.objects.get().user) == (alice, alice)
    assert (ApiRequest.objects.count(), RequestContent.objects.count()) == (1, 0)
    assert differences(timezone.now()) == []


def test_the_ledger_is_append_only_again(made, alice):
    making.remove()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LedgerEntry.objects.all().delete()


def test_whoever_is_signed_in_there_is_nobody_afterwards(made, client):
    signed_in = {"login": making.EMAIL, "password": made.password}
    assert client.post("/accounts/login/", signed_in).status_code == 302
    assert client.get("/dashboard").status_code == 200
    assert Session.objects.count() == UserSession.objects.count() == 1
    making.remove()
    assert not Session.objects.exists()
    assert client.get("/dashboard").status_code == 302


def test_made_twice_it_is_made_anew(made, client):
    first = the_demo().id
    again = making.make(days=1, a_day=8)
    assert again.requests == ApiRequest.objects.count() < made.requests
    assert [model.__name__ for model, rows in data_map.rows_of(first) if rows.exists()] == []
    assert client.login(username=making.EMAIL, password=again.password)
    assert not client.login(username=making.EMAIL, password=made.password)
    assert differences(timezone.now()) == []


def test_the_rollups_forget_it_too(made):
    making.remove()
    assert not UsageHour.objects.exists()
    assert not ServiceHour.objects.exists()


def test_without_a_catalogue_it_says_what_to_do():
    with pytest.raises(making.DemoError, match="load_catalog"):
        making.make()
    assert not User.objects.exists()


def test_the_commands_tell_what_they_did(routes, monkeypatch):
    monkeypatch.setattr(making, "DAYS", 1)
    make = making.make
    monkeypatch.setattr(making, "make", lambda: make(days=1, a_day=8))
    output = io.StringIO()
    call_command("make_demo", stdout=output)
    assert f"Sign in as {making.EMAIL}" in output.getvalue()
    call_command("remove_demo", stdout=output)
    assert "and all its data are gone" in output.getvalue()
    with pytest.raises(CommandError, match="There is no"):
        call_command("remove_demo")


@pytest.mark.parametrize("command", ["make_demo", "remove_demo"])
def test_production_has_no_demo(settings, command):
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="production"):
        call_command(command)
