"""A new password or address, and any change of second factors, ends all other sessions."""

import pytest
from allauth.mfa import signals as of_mfa
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as apps
from allauth.mfa.webauthn.internal import auth as passkeys
from allauth.usersessions.models import UserSession
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.models import Session
from django.core import mail
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from accounts import notices
from accounts.adapter import AccountAdapter
from accounts.models import Notice
from tests.support.account_pages import (
    PASSWORD,
    TOTP_COUNTER,
    enter_code,
    is_signed_in,
    just_signed_in,
    last_link,
    sign_in,
    sign_up,
    text_of,
    totp_code,
)
from tests.support.factories import make_user

NEW_PASSWORDS = {"password1": "battery staple correct", "password2": "battery staple correct"}
OTHERS_HAVE_ENDED = "All other sessions have ended"


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch):
    """A code must not run out between its making and its use."""
    monkeypatch.setattr(apps, "yield_hotp_counters_from_time", lambda: iter([TOTP_COUNTER]))


@pytest.fixture
def dora(_some_books):
    return make_user("dora@example.org", password=PASSWORD)


def session_of(user) -> Client:
    """Signed in as at the pages: in the list of sessions too."""
    client = just_signed_in(user)
    key = client.session.session_key
    UserSession.objects.create(user=user, session_key=key, ip="192.0.2.1", user_agent="Lynx")
    return client


def is_open(client: Client) -> bool:
    return client.get("/dashboard").status_code == 200


def have_app(dora) -> None:
    apps.TOTP.activate(dora, apps.generate_totp_secret())


def have_passkey(dora) -> None:
    Authenticator.objects.create(user=dora, type="webauthn", data={"name": "phone"})


def have_no_password(dora) -> None:
    dora.set_unusable_password()
    dora.save()


def set_up_app(client) -> None:
    path = "/accounts/2fa/totp/activate/"
    client.post(path, {"code": totp_code(client.get(path).context["form"].secret)})


def turn_app_off(client) -> None:
    client.post("/accounts/2fa/totp/deactivate/")


def make_recovery_codes(client) -> None:
    client.post("/accounts/2fa/recovery-codes/generate/")


def add_passkey(client) -> None:
    client.post("/accounts/2fa/webauthn/add/", {"name": "phone", "credential": '{"id": "any"}'})


def remove_passkey(client) -> None:
    row = Authenticator.objects.get(type="webauthn")
    client.post(reverse("mfa_remove_webauthn", args=[row.pk]))


def change_password(client) -> None:
    client.post("/accounts/password/change/", {**NEW_PASSWORDS, "oldpassword": PASSWORD})


def set_password(client) -> None:
    client.post("/accounts/password/set/", NEW_PASSWORDS)


def change_address(client) -> None:
    client.post("/accounts/email/", {"email": "dora@example.net", "action_add": ""})
    enter_code(client)


def nothing(dora) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "change", "mail_of_it"),
    [
        (nothing, set_up_app, "mfa/email/totp_activated"),
        (have_app, turn_app_off, "mfa/email/totp_deactivated"),
        (have_app, make_recovery_codes, "mfa/email/recovery_codes_generated"),
        (nothing, add_passkey, "mfa/email/webauthn_added"),
        (have_passkey, remove_passkey, "mfa/email/webauthn_removed"),
        (nothing, change_password, "account/email/password_changed"),
        (have_no_password, set_password, "account/email/password_set"),
        (nothing, change_address, "account/email/email_changed"),
    ],
)
def test_a_change_ends_all_other_sessions_of_that_person_and_says_so(
    committed_books, dora, bob, before, change, mail_of_it, monkeypatch
):
    monkeypatch.setattr(passkeys, "parse_registration_response", dict)
    monkeypatch.setattr(passkeys, "complete_registration", dict)  # Browsers do it in tests/browser.
    before(dora)
    others = [session_of(dora), session_of(dora)]
    client, bobs = session_of(dora), session_of(bob)
    assert all(map(is_open, [client, *others, bobs])), "the control"
    change(client)

    assert not any(map(is_open, others))
    assert is_open(bobs)
    page = text_of(client.get("/keys"))
    assert page.count(OTHERS_HAVE_ENDED) == 1
    assert [one.session_key for one in UserSession.objects.filter(user=dora)] == [
        client.session.session_key
    ]
    assert Session.objects.count() == 2
    notices.send(Notice.objects.get(template=mail_of_it).id)
    assert OTHERS_HAVE_ENDED in mail.outbox[-1].body
    assert OTHERS_HAVE_ENDED in mail.outbox[-1].alternatives[0].content


@pytest.mark.parametrize("change", [set_up_app, add_passkey, change_address])
def test_a_sign_in_that_had_begun_before_the_change_is_void_after_it(
    committed_books, dora, change, monkeypatch
):
    """It found nothing to ask for but the password, and its session isn't stored yet."""
    monkeypatch.setattr(passkeys, "parse_registration_response", dict)
    monkeypatch.setattr(passkeys, "complete_registration", dict)
    client, late, login = session_of(dora), Client(), AccountAdapter.login

    def change_first(adapter, request, user):
        monkeypatch.setattr(AccountAdapter, "login", login)
        change(client)
        adapter.login(request, user)

    monkeypatch.setattr(AccountAdapter, "login", change_first)
    sign_in(late, dora.email)
    assert "_auth_user_id" in late.session, "the control"
    assert not is_open(late)
    assert is_open(client)


@pytest.mark.parametrize("change", [change_password, change_address, make_recovery_codes])
def test_a_sign_in_that_waits_for_its_second_factor_begins_anew_after_a_change(
    committed_books, dora, change
):
    secret = apps.generate_totp_secret()
    apps.TOTP.activate(dora, secret)
    client, late = session_of(dora), Client()
    sign_in(late, dora.email)
    change(client)
    page = late.post("/accounts/2fa/authenticate/", {"code": totp_code(secret)}, follow=True)
    assert page.redirect_chain[0][0] == "/accounts/login/"
    assert "How you sign in was changed meanwhile" in text_of(page)
    assert not is_open(late)
    assert is_open(client)


def test_of_two_changes_the_session_of_the_first_is_ended_by_the_second(committed_books, dora):
    first, second = session_of(dora), session_of(dora)
    rows = [type(dora).objects.get(pk=dora.pk) for _ in range(2)]
    for client, user in zip((first, second), rows, strict=True):
        request = HttpRequest()
        request.session, request.user = client.session, user
        request._messages = FallbackStorage(request)
        UserSession.objects.all().delete()  # As though neither found the other's.
        of_mfa.authenticator_added.send(Authenticator, request=request, user=user)
        request.session.save()
    assert not is_open(first)
    assert is_open(second)


def test_a_new_secret_key_ends_no_session(dora, settings):
    client = session_of(dora)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, of which nobody knew before"
    assert is_open(client)
    settings.SECRET_KEY_FALLBACKS = []
    assert is_open(client), "by the hash of the new key"


def test_where_there_was_no_other_session_nothing_is_said(dora):
    client = session_of(dora)
    change_password(client)
    page = text_of(client.get("/keys"))
    assert "Your password is changed" in page
    assert OTHERS_HAVE_ENDED not in page


def test_a_change_that_is_refused_ends_nothing(dora):
    client, other = session_of(dora), session_of(dora)
    client.post("/accounts/password/change/", {**NEW_PASSWORDS, "oldpassword": "wrong"})
    client.post("/accounts/2fa/totp/activate/", {"code": "000000"})
    client.post("/accounts/email/", {"email": "dora@example.net", "action_add": ""})
    enter_code(client, "000000")
    assert is_open(other)


def test_a_reset_password_ends_every_session(dora, bob):
    sessions, bobs = [session_of(dora), session_of(dora)], session_of(bob)
    client = Client()
    client.post("/accounts/password/reset/", {"email": dora.email})
    action = client.get(last_link(), follow=True).context["action_url"]
    page = text_of(client.post(action, NEW_PASSWORDS, follow=True))
    assert "All sessions have ended: sign in with the new password" in page
    assert not any(map(is_open, sessions))
    assert is_open(bobs)
    assert not UserSession.objects.filter(user=dora).exists()
    notices.send(Notice.objects.get().id)
    assert "All sessions have ended" in mail.outbox[-1].body


def test_the_first_address_is_no_change(books, client):
    sign_up(client, "new@example.org")
    enter_code(client)
    assert is_signed_in(client)
    assert OTHERS_HAVE_ENDED not in text_of(client.get("/keys"))
