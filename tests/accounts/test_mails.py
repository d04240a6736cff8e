import datetime as dt
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from django.conf import settings as project
from django.core import mail
from django.template.loader import get_template
from django.test import Client
from django.utils import timezone

from accounts import mails, notices, tasks
from accounts.keyring import data_keys
from accounts.models import Notice, User
from tests.support.account_pages import (
    PASSWORD,
    enter_code,
    is_signed_in,
    sign_in,
    sign_up,
    text_of,
)
from tests.support.factories import make_user
from tests.support.ports import free_port

SMTP = "django.core.mail.backends.smtp.EmailBackend"
TEMPLATES = sorted(
    str(path.relative_to(project.BASE_DIR / "templates")).removesuffix("_subject.txt")
    for path in (project.BASE_DIR / "templates").glob("*/email/*_subject.txt")
)
FACTS = {
    "code": "123456",
    "password_reset_url": "http://localhost/reset",
    "signup_url": "http://localhost/signup",
    "from_email": "old@example.org",
    "to_email": "new@example.org",
    "deleted_email": "gone@example.org",
    "ip": "192.0.2.1",
    "user_agent": "<b>Lynx</b> & friends",
    "browser": "<b>Lynx</b>",
    "name": "<b>Lynx</b>",
    "timestamp": dt.datetime(2026, 4, 5, 12, 30, tzinfo=dt.UTC),
}


# --- How they look -------------------------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_mail_has_a_subject_a_text_and_html(template):
    message = mails.message(template, "dora@example.org", FACTS)
    assert message.subject
    assert "\n" not in message.subject
    [(html, mime_type)] = message.alternatives
    assert mime_type == "text/html"
    assert html.startswith("<!doctype html>")
    assert "<" not in message.body.replace("<b>Lynx</b>", "")
    assert "<b>Lynx</b>" not in html
    for body in (message.body, html):
        assert "privacy@kymaapi.com" in body
        assert "{" not in body


def test_the_mails_that_allauth_sends_are_ours():
    ours = {
        *("email_confirmation", "email_confirmation_signup", "password_reset_key"),
        *("account_already_exists", "unknown_account", "password_changed", "password_reset"),
        *("password_set", "email_changed", "email_deleted"),
    }
    assert {f"account/email/{name}" for name in ours} <= set(TEMPLATES)
    assert get_template("mfa/email/webauthn_added_message.html")


# --- Notices -------------------------------------------------------------------------------------


@pytest.fixture
def notice(alice):
    facts = {"ip": "192.0.2.1", "user_agent": "Lynx"}
    return notices.record(
        alice, template="account/email/password_changed", address=alice.email, facts=facts
    )


def test_a_notice_is_sent_by_a_job_from_its_id_and_then_gone(notice):
    assert mail.outbox == []
    tasks.send_notice(notice.id.hex)
    assert mail.outbox[0].to == ["alice@example.org"]
    assert "192.0.2.1, Lynx" in mail.outbox[0].body
    assert not Notice.objects.exists()
    tasks.send_notice(notice.id.hex)
    assert len(mail.outbox) == 1


def test_what_it_says_lies_sealed(notice):
    row = Notice.objects.get()
    for text in (b"alice", b"192.0.2.1", b"Lynx"):
        assert text not in bytes(row.sealed)


def test_a_job_of_its_own_is_made_for_each_that_waits(notice, monkeypatch):
    asked = []
    monkeypatch.setattr(tasks.send_notice, "delay", asked.append)
    tasks.send_notices()
    assert asked == [notice.id.hex]


def test_one_that_is_being_sent_is_left_alone_until_its_job_must_be_dead(notice):
    Notice.objects.update(claimed_at=timezone.now())
    assert notices.waiting() == []
    assert not notices.send(notice.id)
    Notice.objects.update(claimed_at=timezone.now() - notices.CLAIM)
    assert notices.waiting() == [notice.id]
    assert notices.send(notice.id)


def test_one_that_is_no_news_any_more_is_dropped(notice):
    Notice.objects.update(created_at=timezone.now() - notices.GIVE_UP)
    assert notices.waiting() == []
    assert not Notice.objects.exists()


def test_one_of_somebody_who_was_erased_is_dropped(notice, alice):
    data_keys.destroy(alice.id)
    assert not notices.send(notice.id)
    assert not Notice.objects.exists()
    assert mail.outbox == []


def test_one_that_the_server_refuses_waits(notice, settings):
    settings.EMAIL_BACKEND = SMTP
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    assert not notices.send(notice.id)
    assert Notice.objects.get().claimed_at


# --- A mail server that fails --------------------------------------------------------------------


@contextmanager
def deaf_server():
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def rude_server():
    """Refuses every recipient."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_refuse, args=[server], daemon=True).start()
        yield server.getsockname()[1]


def _refuse(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection, connection.makefile("rwb", buffering=0) as lines:
        lines.write(b"220 rude\r\n")
        while line := lines.readline():
            lines.write(b"550 no\r\n" if line.upper().startswith(b"RCPT") else b"250 ok\r\n")


@contextmanager
def no_server():
    yield free_port()


@pytest.fixture
def failing(settings):
    def use(port: int) -> None:
        settings.EMAIL_BACKEND = SMTP
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.EMAIL_TIMEOUT = 0.3

    return use


def test_mails_wait_five_seconds_for_the_server():
    assert project.EMAIL_TIMEOUT == 5


@pytest.mark.parametrize("server", [deaf_server, rude_server, no_server])
def test_a_sign_up_whose_mail_fails_gets_a_page_that_says_so_and_loses_nothing(
    books, client, failing, settings, server
):
    settings.ACCOUNT_RATE_LIMITS = {"confirm_email": None}
    working = settings.EMAIL_BACKEND
    with server() as port:
        failing(port)
        began_at = time.monotonic()
        response = sign_up(client, "new@example.org")
    assert time.monotonic() - began_at < 20  # A deaf one is not waited for for ever.
    assert response.status_code == 503
    assert "Nothing is lost" in text_of(response)
    assert User.objects.get().check_password(PASSWORD)

    settings.EMAIL_BACKEND = working
    assert client.get("/accounts/login/").status_code == 200, "no page that leads in a circle"
    assert sign_in(client, "new@example.org")["Location"] == "/accounts/confirm-email/"
    enter_code(client)
    assert is_signed_in(client)


def test_it_says_the_same_of_a_known_address(books, failing):
    make_user("known@example.org", password=PASSWORD)
    with no_server() as port:
        failing(port)
        pages = [text_of(sign_up(Client(), f"{name}@example.org")) for name in ("known", "new")]
    assert pages[0] == pages[1]


def test_a_code_that_was_sent_still_works_when_the_next_mail_fails(
    books, client, failing, settings
):
    settings.ACCOUNT_RATE_LIMITS = {"confirm_email": None}
    sign_up(client, "new@example.org")
    with no_server() as port:
        failing(port)
        response = client.post("/accounts/confirm-email/", {"action": "resend"})
    assert response.status_code == 503
    enter_code(client)
    assert is_signed_in(client)


def test_a_reset_whose_mail_fails_gets_that_page_too(books, client, failing):
    make_user("dora@example.org", password=PASSWORD)
    with no_server() as port:
        failing(port)
        response = client.post("/accounts/password/reset/", {"email": "dora@example.org"})
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
