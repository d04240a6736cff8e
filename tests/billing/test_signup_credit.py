import threading

import pytest
from django.db import connections

from accounts.models import User
from billing import signup
from billing.models import CreditAccount, LedgerEntry, SignupGrant
from gateway.commits import reconcile
from tests.support.account_pages import PASSWORD, enter_code, sign_in, sign_up, text_of
from tests.support.factories import make_user

GIFT_NANO = 500_000_000
THREADS = 4


def gifts() -> list[tuple[str, int]]:
    entries = LedgerEntry.objects.filter(kind="signup").order_by("id")
    return [(one.account.user.email, one.amount_nano) for one in entries]


def test_a_verified_address_brings_half_a_dollar_as_a_ledger_entry(books, client):
    sign_up(client, "new@example.org")
    assert gifts() == []
    enter_code(client)
    assert "no sign-up credit" not in text_of(client.get("/dashboard"))
    assert gifts() == [("new@example.org", GIFT_NANO)]
    account = CreditAccount.objects.get(user__email="new@example.org")
    assert account.balance_nano == GIFT_NANO
    assert list(reconcile.differences()) == []


def test_one_mailbox_gets_it_once_however_it_is_written(books):
    for address in ("a+b@gmail.com", "a.b@gmail.com", "ab@gmail.com", "ab@googlemail.com"):
        signup.grant(make_user(address), address)
    assert [address for address, _ in gifts()] == ["a+b@gmail.com", "a.b@gmail.com"]


def test_a_second_account_of_the_mailbox_works_without_the_gift(books, client):
    signup.grant(make_user("ann@gmail.com"), "ann@gmail.com")
    sign_up(client, "a.nn+again@gmail.com")
    enter_code(client)
    client.post("/settings/privacy/choose", {"choice": "none"})
    for page in ("/dashboard", "/billing"):
        assert "this one had it before" in text_of(client.get(page))
    assert User.objects.filter(email="a.nn+again@gmail.com").exists()
    assert [address for address, _ in gifts()] == ["ann@gmail.com"]


def test_in_parallel_too_once_is_once(committed_books):
    users = [make_user(f"ann+{number}@gmail.com") for number in range(THREADS)]
    start = threading.Barrier(THREADS)

    def claim(user):
        start.wait()
        signup.grant(user, user.email)
        connections.close_all()

    threads = [threading.Thread(target=claim, args=[user]) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gifts()) == 1


def test_a_second_address_of_one_person_brings_nothing_more(books, client):
    dora = make_user("dora@example.org", password=PASSWORD)
    signup.grant(dora, "dora@example.org")
    sign_in(client, "dora@example.org")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    client.post("/accounts/email/", {"email": "dora@example.net", "action_add": ""})
    enter_code(client)
    dora.refresh_from_db()
    assert dora.email == "dora@example.net"
    assert gifts() == [("dora@example.net", GIFT_NANO)]


def test_a_gift_of_another_size_is_not_given_to_who_had_one(books, settings):
    dora = make_user("dora@example.org")
    signup.grant(dora, "dora@example.org")
    settings.SIGNUP_CREDIT_NANO = 1
    assert signup.grant(dora, "dora@example.net") is None
    settings.SIGNUP_CREDIT_NANO = 0
    assert signup.grant(make_user(), "new@example.org") is None


def test_no_address_is_kept_and_a_new_secret_key_forgets_nobody(books, settings):
    signup.grant(make_user(), "ann@example.org")
    assert "ann" not in SignupGrant.objects.get().digest
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 8
    assert signup.grant(make_user(), "ann@example.org") is None


@pytest.mark.parametrize("field", ["user", "account", "created_at"])
def test_what_is_kept_leads_to_nobody(field):
    assert field not in {one.name for one in SignupGrant._meta.fields}
