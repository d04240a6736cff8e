"""Browsers that a person has used: mails about new ones, and limits on wrong passwords."""

import pytest
from django.conf import settings
from django.core import mail
from django.core.cache import cache
from django.test import Client

from accounts import known_browsers, notices, security_changes
from accounts.models import Notice
from tests.support.account_pages import (
    PASSWORD,
    enter_code,
    is_signed_in,
    last_link,
    sign_in,
    sign_up,
    text_of,
)
from tests.support.factories import make_user

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NEW_PASSWORD = "battery staple correct"
COOKIE = settings.KNOWN_BROWSER_COOKIE_NAME


@pytest.fixture
def dora(books):
    return make_user("dora@example.org", password=PASSWORD)


def told() -> int:
    """How many mails about new browsers there were since it was last asked."""
    return Notice.objects.filter(template="account/email/new_browser").delete()[0]


def test_the_mail_says_when_and_what_browser_and_no_more(dora, caplog):
    client = Client(headers={"user-agent": FIREFOX}, REMOTE_ADDR="192.0.2.7")
    sign_in(client, dora.email)
    assert is_signed_in(client)
    assert mail.outbox == [], "nobody waits for it"
    notice = Notice.objects.get()
    assert b"Firefox" not in bytes(notice.sealed)
    with caplog.at_level("DEBUG"):
        notices.send(notice.id)
    assert mail.outbox[0].to == [dora.email]
    bodies = [mail.outbox[0].body, mail.outbox[0].alternatives[0].content]
    for body in bodies:
        assert "Firefox on Linux" in body
        assert f"{notice.created_at:%Y-%m-%d %H:%M} UTC" in body
        for untrue_or_needless in ("192.0.2.7", "Gecko", "sessions have ended"):
            assert untrue_or_needless not in body
    assert "Firefox" not in caplog.text
    assert dora.email not in caplog.text


def test_a_browser_is_new_once(dora, client):
    for _ in range(2):
        sign_in(client, dora.email)
        client.post("/accounts/logout/")
    assert told() == 1
    sign_in(Client(), dora.email)
    assert told() == 1


def test_a_wrong_password_tells_nothing_and_makes_nothing_known(dora, client):
    sign_in(client, dora.email, "wrong")
    assert COOKIE not in client.cookies
    assert told() == 0


def test_who_has_just_signed_up_is_told_nothing(books, client):
    sign_up(client, "new@example.org")
    enter_code(client)
    assert is_signed_in(client)
    client.post("/accounts/logout/")
    sign_in(client, "new@example.org")
    assert is_signed_in(client)
    assert told() == 0


def test_a_browser_that_somebody_else_uses_is_new_to_her(dora, client):
    make_user("erik@example.org", password=PASSWORD)
    for address in ("erik@example.org", dora.email, "erik@example.org", dora.email):
        sign_in(client, address)
        client.post("/accounts/logout/")
    assert told() == 2


def test_after_a_new_password_every_browser_is_new(dora, client):
    sign_in(client, dora.email)
    assert told() == 1
    dora.set_password("battery staple correct")
    dora.save()
    sign_in(client, dora.email, "battery staple correct")
    assert told() == 1


def test_after_a_change_of_second_factors_browsers_are_known_still(dora, client):
    sign_in(client, dora.email)
    client.post("/accounts/logout/")
    assert told() == 1
    security_changes.begin_epoch(dora)
    sign_in(client, dora.email)
    assert is_signed_in(client)
    assert told() == 0


@pytest.mark.parametrize("cookie", ["", ".", "x" * 32, "é" * 32, "." * 9000])
def test_a_made_up_cookie_makes_nobody_known(dora, client, cookie):
    assert not known_browsers.knows(cookie, dora)
    client.cookies[COOKIE] = cookie
    sign_in(client, dora.email)
    assert told() == 1
    assert known_browsers.knows(client.cookies[COOKIE].value, dora)


def test_the_cookie_names_nobody_and_does_not_grow_without_end(books):
    people = [make_user(f"person-{number}@example.org") for number in range(10)]
    cookie = ""
    for one in people:
        cookie = known_browsers.remember(cookie, one)
    assert known_browsers.remember(cookie, people[-1]) == cookie
    assert [known_browsers.knows(cookie, one) for one in people] == [False] * 2 + [True] * 8
    assert len(cookie) < 300
    assert not any(one.id.hex in cookie for one in people)


def test_no_script_reads_the_cookie(dora, client):
    sign_in(client, dora.email)
    cookie = client.cookies[COOKIE]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"]) == ("Lax", "/")
    assert cookie["max-age"] == known_browsers.AGE_S


# --- Strangers who try passwords -----------------------------------------------------------------

STRANGER = "192.0.2.99"
TOO_MANY = "Too many wrong tries"


def try_as_stranger(address: str, *, times: int = 6, network_address: str = STRANGER):
    """Wrong passwords from a browser that nobody has used. Returns the last answer."""
    for _ in range(times):
        fields = {"login": address, "password": "wrong"}
        answer = Client(REMOTE_ADDR=network_address).post("/accounts/login/", fields)
    return answer


def used_by(address: str, password: str = PASSWORD) -> Client:
    client = Client()
    sign_in(client, address, password)
    client.post("/accounts/logout/")
    return client


def test_strangers_lock_out_each_other_and_not_the_person(dora):
    hers = used_by(dora.email)
    assert TOO_MANY in text_of(try_as_stranger(dora.email))
    assert TOO_MANY in text_of(sign_in(Client(REMOTE_ADDR="192.0.2.98"), dora.email))
    sign_in(hers, dora.email)
    assert is_signed_in(hers)


def test_strangers_at_her_own_network_address_do_not_lock_her_out(dora):
    hers = used_by(dora.email)
    answer = try_as_stranger(dora.email, times=40, network_address="127.0.0.1")
    assert answer.status_code == 429
    sign_in(hers, dora.email)
    assert is_signed_in(hers)


def test_a_known_browser_is_limited_too_and_wrong_tries_there_lock_nobody_else(dora):
    hers, new = used_by(dora.email), Client(REMOTE_ADDR="192.0.2.7")
    for _ in range(10):
        assert TOO_MANY not in text_of(sign_in(hers, dora.email, "wrong"))
    assert TOO_MANY in text_of(sign_in(hers, dora.email))
    sign_in(new, dora.email)
    assert is_signed_in(new)


def test_right_passwords_are_not_counted_in_a_known_browser(dora):
    hers = used_by(dora.email)
    for _ in range(12):
        sign_in(hers, dora.email)
        assert is_signed_in(hers)
        hers.post("/accounts/logout/")


def test_a_browser_known_to_one_person_is_a_stranger_to_all_others_there_or_not(dora):
    make_user("erik@example.org", password=PASSWORD)
    hers = used_by(dora.email)
    hers.get("/accounts/login/")  # Shows that she has signed out.
    pages = []
    for address in ("erik@example.org", "nobody@example.org"):
        cache.clear()
        answers = [text_of(sign_in(hers, address, "wrong")) for _ in range(6)]
        assert TOO_MANY in answers[-1]
        pages.append([one.replace(address, "ADDRESS") for one in answers])
    assert pages[0] == pages[1]


def test_reauthentication_goes_on_while_strangers_try(dora, client):
    sign_in(client, dora.email)
    try_as_stranger(dora.email)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert client.get("/accounts/2fa/totp/activate/").status_code == 200


def test_a_new_password_by_mail_makes_the_browser_known(dora, client):
    client.post("/accounts/password/reset/", {"email": dora.email})
    action = client.get(last_link(), follow=True).context["action_url"]
    client.post(action, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    try_as_stranger(dora.email)
    sign_in(client, dora.email, NEW_PASSWORD)
    assert is_signed_in(client)


def test_the_browser_that_changes_the_password_stays_known_and_no_other(dora, client):
    other = used_by(dora.email)
    sign_in(client, dora.email)
    fields = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    client.post("/accounts/password/change/", fields)
    dora.refresh_from_db()
    assert known_browsers.knows(client.cookies[COOKIE].value, dora)
    assert not known_browsers.knows(other.cookies[COOKIE].value, dora)
