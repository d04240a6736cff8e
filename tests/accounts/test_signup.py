import re

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client

from accounts.keyring import data_keys
from accounts.models import User
from tests.support.account_pages import (
    PASSWORD,
    enter_code,
    is_signed_in,
    last_code,
    sign_in,
    sign_up,
    text_of,
)
from tests.support.factories import make_user

pytestmark = pytest.mark.usefixtures("books")


def test_signing_up_takes_an_address_a_password_and_the_code_that_was_mailed(client):
    response = sign_up(client, "New@Example.org")
    assert response.status_code == 302
    assert response["Location"] == "/accounts/confirm-email/"
    assert not is_signed_in(client)

    page = client.get("/accounts/confirm-email/")
    assert "new@example.org" in text_of(page)
    response = enter_code(client)
    assert response["Location"] == "/dashboard"
    assert is_signed_in(client)
    user = User.objects.get(email="new@example.org")
    assert user.password.startswith("argon2$argon2id$")
    assert data_keys.cipher_of(user.id)
    assert EmailAddress.objects.get(user=user).verified


def test_nothing_but_address_and_password_is_asked_for(client):
    form = client.get("/accounts/signup/").context["form"]
    assert list(form.fields) == ["email", "password1"]


def test_a_wrong_code_is_refused_and_three_end_the_attempt(client):
    sign_up(client, "new@example.org")
    code = last_code()
    wrong = "000000" if code != "000000" else "111111"
    assert "Incorrect code" in text_of(enter_code(client, wrong))
    enter_code(client, wrong)
    assert enter_code(client, wrong)["Location"] == "/accounts/login/"
    assert enter_code(client, code)["Location"] == "/accounts/login/"
    assert not is_signed_in(client)


@pytest.mark.parametrize("address", ["new@example.org", "known@example.org"])
def test_a_code_that_comes_too_late_is_told_so(books, client, settings, address):
    make_user("known@example.org", password=PASSWORD)
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_TIMEOUT = -1
    sign_up(client, address)
    answer = enter_code(client, "123456")
    assert answer["Location"] == "/accounts/login/"
    assert "This code works no longer" in text_of(client.get("/accounts/login/"))


def test_a_new_code_can_be_asked_for_and_voids_the_old_one(client, settings):
    settings.ACCOUNT_RATE_LIMITS = {"confirm_email": None}
    sign_up(client, "new@example.org")
    old = last_code()
    client.post("/accounts/confirm-email/", {"action": "resend"})
    assert len(mail.outbox) == 2
    assert old == last_code() or "Incorrect code" in text_of(enter_code(client, old))
    enter_code(client)
    assert is_signed_in(client)


def test_who_left_before_the_code_gets_another_at_the_next_sign_in(client, settings):
    settings.ACCOUNT_RATE_LIMITS = {"confirm_email": None}
    sign_up(client, "new@example.org")
    later = Client()
    assert sign_in(later, "new@example.org")["Location"] == "/accounts/confirm-email/"
    enter_code(later)
    assert is_signed_in(later)


@pytest.mark.parametrize(
    ("password", "why"),
    [("short", "too short"), ("password123", "too common"), ("1234567890", "too common")],
)
def test_short_and_common_passwords_are_refused(client, password, why):
    assert text_of(sign_up(client, "new@example.org", password)).count(why) == 1
    assert not User.objects.filter(email="new@example.org").exists()


def test_passwords_need_no_mixture_of_characters(client):
    assert sign_up(client, "new@example.org", "nothingbutletters").status_code == 302


# --- Enumeration ---------------------------------------------------------------------------------


def without_address(response, address: str) -> str:
    return text_of(response).replace(address, "ADDRESS")


def test_signing_up_says_the_same_of_a_known_and_of_an_unknown_address(client):
    make_user("known@example.org", password=PASSWORD)
    other = Client()
    answers = [sign_up(client, "known@example.org"), sign_up(other, "unknown@example.org")]
    assert answers[0].status_code == answers[1].status_code == 302
    assert answers[0]["Location"] == answers[1]["Location"]
    pages = [
        without_address(client.get("/accounts/confirm-email/"), "known@example.org"),
        without_address(other.get("/accounts/confirm-email/"), "unknown@example.org"),
    ]
    assert pages[0] == pages[1]


def test_only_the_mail_says_that_there_is_an_account(client):
    make_user("known@example.org", password=PASSWORD)
    sign_up(client, "known@example.org", "quite another password")
    assert "has an account already" in " ".join(mail.outbox[-1].body.split())
    assert not re.search(r"^\d{6}$", mail.outbox[-1].body, re.MULTILINE)
    assert User.objects.get().check_password(PASSWORD)


def test_a_known_address_costs_a_password_hash_too(client, monkeypatch):
    make_user("known@example.org")
    hashed = []
    monkeypatch.setattr(User, "set_password", lambda self, password: hashed.append(password))
    sign_up(client, "known@example.org")
    assert hashed == [PASSWORD]


# --- Where no mail can be sent -------------------------------------------------------------------


def test_in_production_without_a_mail_server_nobody_signs_up_and_the_page_says_why(
    client, settings
):
    settings.EMAIL_HOST, settings.LOCAL_MAILBOX = "", False
    for response in (client.get("/accounts/signup/"), sign_up(client, "new@example.org")):
        assert "no mail server is set up" in text_of(response)
    assert not User.objects.exists()


def test_with_a_mail_server_people_sign_up(client, settings):
    settings.EMAIL_HOST, settings.LOCAL_MAILBOX = "mail.example.org", False
    assert client.get("/accounts/signup/").context["form"]
