"""Few gifts for one network, and for one mail domain on one day."""

import datetime as dt

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from billing import gift_places, signup, tasks
from billing.models import CreditAccount, GiftPlace, LedgerEntry, SignupGrant
from tests.support.account_pages import enter_code, sign_up, text_of
from tests.support.at_once import at_once
from tests.support.factories import make_account, make_user

HERE = "192.0.2.7"
AT_ONCE = 8


@pytest.fixture(autouse=True)
def _few(settings):
    settings.SIGNUP_GIFTS_PER_NETWORK = 3
    settings.SIGNUP_GIFTS_PER_DOMAIN_A_DAY = 2


def given(address: str, network_address: str | None = HERE) -> bool:
    """True if a new account with this address got the gift."""
    return signup.grant(make_user(), address, network_address=network_address) is not None


def gifts(addresses, network_address: str | None = HERE) -> list[bool]:
    return [given(address, network_address) for address in addresses]


def people(domain: str, count: int, name: str = "person") -> list[str]:
    return [f"{name}-{number}@{domain}" for number in range(count)]


@pytest.fixture
def later(monkeypatch):
    def later(days: int):
        now = timezone.now() + dt.timedelta(days=days)
        monkeypatch.setattr(timezone, "now", lambda: now)

    return later


# --- Networks ------------------------------------------------------------------------------------


def test_one_network_gets_few_however_many_addresses_it_has(books):
    networks = [f"192.0.2.{number}" for number in (1, 200, 255, 7)]
    addresses = people("gmail.com", 4)
    assert [given(*both) for both in zip(addresses, networks, strict=True)] == [True] * 3 + [False]
    assert given("other@gmail.com", "192.0.3.1")


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (("2001:db8:7::1", "2001:db8:7:ffff::1", "2001:db8:7:8000::"), "2001:db8:8::1"),
        (("192.0.2.1", "::ffff:192.0.2.2", "192.0.2.3"), "192.0.1.255"),
        (("", "", ""), "unix"),
    ],
)
def test_what_one_network_is(books, same, other):
    for place, network in enumerate(same):
        assert given(f"person-{place}@gmail.com", network)
    assert not given("last@gmail.com", same[0])
    assert given("last@gmail.com", other)


def test_a_network_gets_some_again_after_ninety_days_and_none_before(books, later):
    assert gifts(people("gmail.com", 4)) == [True] * 3 + [False]
    later(gift_places.NETWORK_DAYS - 1)
    assert not given("again@gmail.com")
    later(1)
    assert gifts(people("gmail.com", 4, "later")) == [True] * 3 + [False]


# --- Mail domains --------------------------------------------------------------------------------


def test_one_unknown_domain_gets_few_in_a_day_from_wherever_they_come(books, later):
    networks = [f"198.51.{number}.1" for number in range(3)]
    both = zip(people("example.com", 3), networks, strict=True)
    assert [given(*one) for one in both] == [True, True, False]
    assert given("somebody@example.net", networks[2])
    later(1)
    assert given("person-2@example.com", networks[2])


@pytest.mark.parametrize(
    ("domains", "other"),
    [
        (("example.com", "a.example.com", "b.c.EXAMPLE.com"), "sample.com"),
        (("kyma.co.uk", "a.kyma.co.uk", "b.kyma.co.uk"), "other.co.uk"),
        (("kyma.de", "a.kyma.de", "co.kyma.de"), "other.de"),
    ],
)
def test_one_domain_is_all_that_its_owner_can_make(books, domains, other):
    networks = [f"198.51.{number}.1" for number in range(4)]
    addresses = [f"person@{domain}" for domain in (*domains, other)]
    both = zip(addresses, networks, strict=True)
    assert [given(*one) for one in both] == [True, True, False, True]


@pytest.mark.parametrize(
    "addresses",
    [
        people("gmail.com", 3),
        people("web.de", 3),
        [f"anything@{name}.fastmail.com" for name in ("ann", "bea", "cat")],
    ],
)
def test_domains_of_millions_of_people_have_no_bound_of_their_own(books, addresses):
    networks = [f"198.51.{number}.1" for number in range(3)]
    assert [given(*one) for one in zip(addresses, networks, strict=True)] == [True] * 3


# --- What is taken, kept and deleted -------------------------------------------------------------


def test_a_refused_gift_takes_no_place_and_spends_no_mailbox(books):
    assert gifts(people("example.com", 5)) == [True, True, False, False, False]
    assert gifts(["ann@gmail.com", "bea@gmail.com"]) == [True, False]
    assert SignupGrant.objects.count() == 3
    assert given("bea@gmail.com", "203.0.113.1")


def test_what_is_kept_names_no_network_domain_or_account(books):
    given("person@example.com")
    fields = {field.name for field in GiftPlace._meta.fields}
    assert fields == {"id", "digest", "number", "last_day"}
    digests = GiftPlace.objects.values_list("digest", flat=True)
    assert [len(bytes.fromhex(one)) for one in digests] == [32, 32]


def test_nothing_is_kept_for_longer_than_ninety_days(books, later):
    given("person@example.com")
    assert GiftPlace.objects.count() == 2
    later(1)
    tasks.purge_gift_places()
    assert GiftPlace.objects.count() == 1  # of the network
    later(88)  # The 89th day. The job runs once a day, so by its end at the latest.
    tasks.purge_gift_places()
    assert not GiftPlace.objects.exists()


def test_a_new_secret_key_forgets_no_place(books, settings):
    assert gifts(people("gmail.com", 2)) == [True, True]
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 8
    assert gifts(people("gmail.com", 2, "later")) == [True, False]


def test_fewer_places_from_now_on_are_fewer_at_once(books, settings):
    assert gifts(people("gmail.com", 3)) == [True] * 3
    GiftPlace.objects.filter(number=1).delete()
    settings.SIGNUP_GIFTS_PER_NETWORK = 2
    assert not given("last@gmail.com")


def test_the_operator_gives_beyond_these_bounds(books):
    assert gifts(people("example.com", 5), None) == [True] * 5
    assert not GiftPlace.objects.exists()


def test_a_place_is_taken_once_and_numbers_begin_at_one(books):
    today = timezone.now().date()
    GiftPlace.objects.create(digest="x", number=1, last_day=today)
    for number in (0, 1):
        with pytest.raises(IntegrityError), transaction.atomic():
            GiftPlace.objects.create(digest="x", number=number, last_day=today)


# --- In parallel ---------------------------------------------------------------------------------


class Refused(Exception):
    code = "refused"


def claim(user, address: str, network: str):
    def claim():
        if signup.grant(user, address, network_address=network) is None:
            raise Refused

    return claim


@pytest.mark.parametrize(
    ("domain", "network", "count"),
    [("gmail.com", "192.0.2.{}", 3), ("example.com", "198.51.{}.1", 2)],
)
def test_in_parallel_there_are_no_more(committed_books, domain, network, count):
    claims = [
        claim(make_user(), address, network.format(number))
        for number, address in enumerate(people(domain, AT_ONCE))
    ]
    assert at_once(claims, Refused) == ["made"] * count + ["refused"] * (AT_ONCE - count)
    assert LedgerEntry.objects.filter(kind="signup").count() == count


# --- What people see -----------------------------------------------------------------------------


def signed_up(address: str, *, at: str = HERE, confirmed_at: str | None = None) -> Client:
    client = Client(REMOTE_ADDR=at)
    sign_up(client, address)
    client.defaults["REMOTE_ADDR"] = confirmed_at or at
    enter_code(client)
    client.post("/settings/privacy/choose", {"choice": "none"})  # Until then all pages lead there.
    return client


def balance_of(address: str) -> int:
    return CreditAccount.objects.get(user__email=address).balance_nano


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        ("gmail.com", "others in your network were first"),
        ("example.com", "other addresses at yours"),
    ],
)
def test_the_pages_say_why_there_is_none_and_what_to_do(books, domain, why):
    for address in people(domain, 4):
        client = signed_up(address)
    for page in ("/dashboard", "/billing"):
        html = client.get(page)
        assert "There is no sign-up credit in this account." in text_of(html)
        assert why in text_of(html)
        assert 'href="/billing#buy"' in html.content.decode()
        assert "mailto:privacy@kymaapi.com" in html.content.decode()
    assert balance_of(f"person-3@{domain}") == 0


def test_the_address_that_counts_is_that_of_the_confirmation(books):
    for address in people("gmail.com", 4):
        signed_up(address, at=HERE, confirmed_at="203.0.113.9")
    assert [balance_of(address) > 0 for address in people("gmail.com", 4)] == [True] * 3 + [False]
    signed_up("other@gmail.com", at="203.0.113.9", confirmed_at=HERE)
    assert balance_of("other@gmail.com") > 0


def test_an_account_that_got_it_or_has_bought_credit_hears_nothing(books):
    client = signed_up("first@gmail.com")
    assert "no sign-up credit" not in text_of(client.get("/billing"))
    for address in people("gmail.com", 3):
        client = signed_up(address)
    assert "no sign-up credit" in text_of(client.get("/billing"))
    CreditAccount.objects.update(purchased_nano=1)
    assert "no sign-up credit" not in text_of(client.get("/billing"))


def test_a_gift_that_comes_later_takes_the_reason_away(books):
    user = make_user()
    make_account(user)
    gifts(people("gmail.com", 3))
    assert signup.grant(user, "late@gmail.com", network_address=HERE) is None
    account = CreditAccount.objects.get(user=user)
    assert account.no_gift == "network"
    assert signup.grant(user, "late@gmail.com", network_address="203.0.113.1")
    account.refresh_from_db()
    assert account.no_gift == ""
    assert signup.grant(user, "late@gmail.com", network_address=HERE) is None
    account.refresh_from_db()
    assert account.no_gift == ""
