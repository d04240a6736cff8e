"""The demo: an account with a past, right in the books of a Kyma of its own."""

import datetime as dt
import re

import pytest
from django.utils import timezone

from accounts.models import ApiKey, User
from billing.models import LedgerEntry
from chat.models import Conversation, Message
from gateway.analytics import usage
from gateway.log import content
from gateway.models import ApiRequest, RequestContent, UsageHour
from kyma.demo import making
from kyma.machine.supervisor import SupervisorError
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
    assert client.get(f"/requests/{row.id}").context["transcript"].answers
    kept_nothing = ApiRequest.objects.filter(key__retention_days=0)
    assert kept_nothing.exists()
    assert not any(content.row_of(row.id, row.account_id) for row in kept_nothing)


def test_a_reply_names_its_request_and_what_it_cost(made):
    for reply in Message.objects.filter(role="assistant"):
        assert reply.cost_nano == ApiRequest.objects.get(pk=reply.request_id).cost_nano > 0


def test_the_data_map_finds_its_rows_and_nobody_elses(made, alice):
    make_request(alice.credit_account, key=make_key(alice)[0])
    rows = dict(data_map.rows_of(the_demo().id))
    assert set(rows[User]) == {the_demo()}
    assert rows[ApiRequest].count() == made.requests == ApiRequest.objects.count() - 1
    assert rows[Conversation].count() == made.conversations
    assert not rows[LedgerEntry].filter(account=alice.credit_account).exists()


def test_its_summary_says_how_to_sign_in(made, client):
    (password,) = re.findall(rf"Sign in as {making.EMAIL} with the password (\S+)", made.summary)
    assert client.login(username=making.EMAIL, password=password)


def test_it_is_not_made_beside_other_accounts(routes, alice):
    with pytest.raises(SupervisorError, match="make demo"):
        making.make()
    assert User.objects.get() == alice
    assert not ApiRequest.objects.exists()
