import datetime as dt

import pytest
from django.urls import reverse

from accounts.ids import uuid7
from billing.models import CreditAccount, Hold, KeySpend, LedgerEntry, PriceVersion
from tests.support.factories import cap_key, make_account, make_key, make_price, make_user

READ_ONLY = (CreditAccount, LedgerEntry, Hold, KeySpend)
NOW = dt.datetime(2026, 3, 4, 5, 6, tzinfo=dt.UTC)


@pytest.fixture
def operator(books, client):
    user = make_user("operator@example.org", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


@pytest.fixture
def rows(books, alice):
    """One row of each kind, by kind; alice has 10 dollars, and 2.5 of them are held."""
    account = alice.credit_account
    key, _ = make_key(alice)
    hold = Hold.objects.create(
        id=uuid7(),
        account=account,
        key=key,
        price_version=make_price(),
        amount_nano=2_500_000_000,
        created_at=NOW,
        deadline=NOW,
    )
    CreditAccount.objects.filter(pk=account.pk).update(held_nano=hold.amount_nano)
    spend = cap_key(key, day_cap_nano=1_250_000_000)
    return {
        CreditAccount: account,
        LedgerEntry: account.entries.get(),
        Hold: hold,
        KeySpend: spend,
        PriceVersion: hold.price_version,
    }


def page(action: str, model: type, *arguments) -> str:
    return reverse(f"admin:billing_{model._meta.model_name}_{action}", args=arguments)


def test_every_page_opens(operator, client, rows):
    for kind, row in rows.items():
        assert client.get(page("changelist", kind)).status_code == 200
        assert client.get(page("changelist", kind) + f"?q={row.pk}").status_code == 200
        assert client.get(page("change", kind, row.pk)).status_code == 200
        assert client.get(page("history", kind, row.pk)).status_code == 200


def test_amounts_are_shown_in_dollars(operator, client, rows):
    account = client.get(page("change", CreditAccount, rows[CreditAccount].pk)).content.decode()
    for amount in ("10.0", "2.5", "7.5"):
        assert f'<div class="readonly">{amount}</div>' in account
    assert "000000000" not in account
    spend = client.get(page("change", KeySpend, rows[KeySpend].pk)).content.decode()
    assert '<div class="readonly">1.25</div>' in spend
    assert '<div class="readonly">-</div>' in spend
    assert ">10.0<" in client.get(page("changelist", LedgerEntry)).content.decode()
    assert ">2.5<" in client.get(page("changelist", Hold)).content.decode()


def test_money_can_only_be_looked_at(operator, client, rows):
    for kind in READ_ONLY:
        row = rows[kind]
        before = kind.objects.filter(pk=row.pk).values().get()
        assert client.get(page("add", kind)).status_code == 403
        assert client.post(page("add", kind), {"amount_nano": 1}).status_code == 403
        change = client.post(page("change", kind, row.pk), {"amount_nano": 1, "tier": 4})
        assert change.status_code == 403
        assert client.post(page("delete", kind, row.pk), {"post": "yes"}).status_code == 403
        assert kind.objects.filter(pk=row.pk).values().get() == before


def test_an_account_is_found_by_whole_ids_and_address_only(operator, client, rows, alice, bob):
    def found(text):
        return list(
            client.get(page("changelist", CreditAccount), {"q": text}).context["cl"].result_list
        )

    account = rows[CreditAccount]
    for text in (str(account.id), account.id.hex, f" {alice.id} ", "Alice@example.org"):
        assert found(text) == [account]
    for text in ("alice", str(account.id)[:13], "nobody@example.org"):
        assert found(text) == []
    assert {account, bob.credit_account} <= set(found(""))


def test_an_entry_is_found_by_its_account(operator, client, rows):
    make_account(balance_nano=5)
    response = client.get(page("changelist", LedgerEntry), {"q": rows[CreditAccount].id})
    assert list(response.context["cl"].result_list) == [rows[LedgerEntry]]


def test_an_account_whose_owner_was_erased_is_shown(operator, client, rows):
    CreditAccount.objects.update(user=None)
    assert "erased" in client.get(page("changelist", CreditAccount)).content.decode()


@pytest.mark.parametrize("kind", [*READ_ONLY, PriceVersion])
def test_each_list_takes_few_queries(operator, client, rows, django_assert_max_num_queries, kind):
    for _ in range(10):
        account = make_account(balance_nano=5)
        key, _ = make_key(account.user)
        cap_key(key, day_cap_nano=5)
        Hold.objects.create(
            id=uuid7(),
            account=account,
            key=key,
            price_version=make_price(),
            amount_nano=1,
            created_at=NOW,
            deadline=NOW,
        )
    with django_assert_max_num_queries(5):
        client.get(page("changelist", kind))


# --- Price versions ------------------------------------------------------------------------------

PRICE = {
    "input_usd": "0.15",
    "cached_input_usd": "",
    "output_usd": "0.6",
    "request_usd": "0",
    "image_usd": "0.002",
    "source": "https://example.org/price",
    "source_date": "2026-01-02",
    "verified": "on",
}


def test_a_price_is_added_in_dollars(operator, client):
    assert client.get(page("add", PriceVersion)).status_code == 200
    assert client.post(page("add", PriceVersion), PRICE).status_code == 302
    price = PriceVersion.objects.get(source=PRICE["source"])
    assert price.input_nano == 150_000_000
    assert price.cached_input_nano == 15_000_000
    assert price.output_nano == 600_000_000
    assert price.request_nano == 0
    assert price.image_nano == 2_000_000
    assert (price.source, price.source_date) == ("https://example.org/price", dt.date(2026, 1, 2))
    assert price.verified


def test_the_price_of_cached_input_can_be_given(operator, client):
    client.post(page("add", PriceVersion), {**PRICE, "cached_input_usd": "0"})
    assert PriceVersion.objects.get(source=PRICE["source"]).cached_input_nano == 0


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("input_usd", ""),
        ("input_usd", "-1"),
        ("input_usd", "1e3"),
        ("input_usd", "0,5"),
        ("output_usd", "0.0000000001"),
        ("image_usd", "1000001"),
        ("cached_input_usd", "x"),
    ],
)
def test_a_price_that_is_none_is_refused(operator, client, field, text):
    response = client.post(page("add", PriceVersion), {**PRICE, field: text})
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [field]
    assert not PriceVersion.objects.filter(source=PRICE["source"]).exists()


def test_a_price_version_is_never_changed_and_never_deleted(operator, client, rows):
    price = rows[PriceVersion]
    before = PriceVersion.objects.filter(pk=price.pk).values().get()
    assert client.post(page("change", PriceVersion, price.pk), PRICE).status_code == 403
    assert client.post(page("delete", PriceVersion, price.pk), {"post": "yes"}).status_code == 403
    assert PriceVersion.objects.filter(pk=price.pk).values().get() == before


def test_a_price_version_is_shown_in_dollars_per_million(operator, client, rows):
    html = client.get(page("change", PriceVersion, rows[PriceVersion].pk)).content.decode()
    assert "Input per million tokens, USD:" in html
    for amount in ("0.1", "0.05", "0.4"):
        assert f'<div class="readonly">{amount}</div>' in html
    assert '<input type="text"' not in html
