import pytest

from accounts.addresses import is_disposable, normalised
from accounts.models import DisposableDomain, User
from tests.support.account_pages import PASSWORD, sign_in, sign_up, text_of
from tests.support.factories import make_user

REFUSED = "Addresses of this mail service"


@pytest.fixture
def listed(books):
    """Not the list that Kyma comes with: tests that commit have emptied it."""
    return DisposableDomain.objects.get_or_create(domain="throwaway.example")[0]


@pytest.mark.parametrize(
    "address",
    [
        "a@throwaway.example",
        "a@THROWAWAY.example",
        "a@mx.deep.throwaway.example",
        "a@throwaway.example.",
    ],
)
def test_a_listed_domain_and_what_lies_below_it_are_disposable(listed, address):
    assert is_disposable(address)


@pytest.mark.parametrize(
    "address",
    ["a@example", "a@notthrowaway.example", "a@throwaway.example.org", "throwaway.example@a.org"],
)
def test_others_are_not(listed, address):
    assert not is_disposable(address)


def test_they_are_refused_at_sign_up(listed, client):
    assert REFUSED in text_of(sign_up(client, "a@mail.throwaway.example"))
    assert not User.objects.exists()


def test_they_are_refused_at_a_change_of_address(listed, client):
    make_user("dora@example.org", password=PASSWORD)
    sign_in(client, "dora@example.org")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    fields = {"email": "a@throwaway.example", "action_add": ""}
    assert REFUSED in text_of(client.post("/accounts/email/", fields))


def test_who_had_such_an_address_before_can_still_sign_in_and_reset(listed, client):
    make_user("old@throwaway.example", password=PASSWORD)
    reset = client.post("/accounts/password/reset/", {"email": "old@throwaway.example"})
    assert reset.status_code == 302
    assert sign_in(client, "old@throwaway.example").status_code == 302


def test_an_operator_adds_domains_and_takes_them_back(books, client):
    client.force_login(make_user(is_staff=True, is_superuser=True))
    client.post(
        "/admin/accounts/disposabledomain/add/", {"domain": "@New.Example", "is_refused": "on"}
    )
    row = DisposableDomain.objects.get(domain="new.example")
    assert is_disposable("a@new.example")
    client.post(f"/admin/accounts/disposabledomain/{row.pk}/change/", {"domain": "new.example"})
    assert not is_disposable("a@new.example")
    response = client.post("/admin/accounts/disposabledomain/add/", {"domain": "a@b.example"})
    assert "Give a domain alone" in text_of(response)


@pytest.mark.parametrize(
    ("address", "same_as"),
    [
        ("a.b+x@gmail.com", "ab@gmail.com"),
        ("A.B@GoogleMail.com", "ab@gmail.com"),
        ("ann+shop@outlook.com", "ann@outlook.com"),
        ("ann+1@hotmail.com", "ann@hotmail.com"),
        ("ann+1@me.com", "ann@icloud.com"),
        ("a.n-n_a+x@pm.me", "anna@proton.me"),
        ("ann+x@fastmail.com", "ann@fastmail.com"),
        ("anything@ann.fastmail.com", "ann@fastmail.com"),
        ("ann-shop@yahoo.com", "ann@yahoo.com"),
    ],
)
def test_one_mailbox_has_one_form(address, same_as):
    assert normalised(address) == normalised(same_as) == same_as


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.b@outlook.com", "ab@outlook.com"),
        ("ann@outlook.com", "ann@hotmail.com"),
        ("a.b@example.org", "ab@example.org"),
        ("a+b@example.org", "a@example.org"),
    ],
)
def test_two_people_stay_two(one, other):
    assert normalised(one) != normalised(other)
