import datetime as dt
import json
import os
import stat
from pathlib import Path

import pytest
from django.core import mail
from django.test import Client

from accounts import mailbox, mails
from kyma.management.commands.up import Command
from tests.support.account_pages import sign_up, text_of

BACKEND = "accounts.mailbox.MailboxBackend"


@pytest.fixture
def local(books, settings, tmp_path):
    """A Kyma without a mail server."""
    settings.EMAIL_BACKEND, settings.LOCAL_MAILBOX, settings.EMAIL_HOST = BACKEND, True, ""
    settings.STATE_DIR = tmp_path
    return tmp_path / "mailbox"


def make_older(folder, by: dt.timedelta) -> None:
    for path in folder.glob("*.json"):
        fields = json.loads(path.read_text())
        sent_at = dt.datetime.fromisoformat(fields["sent_at"]) - by
        path.write_text(json.dumps({**fields, "sent_at": sent_at.isoformat()}))


def test_the_page_shows_the_code_and_the_inbox_page_links_to_it(local, client):
    client.get(mailbox.link())
    sign_up(client, "new@example.org")
    assert mail.outbox == []
    assert 'href="/mailbox"' in client.get("/accounts/confirm-email/").content.decode()
    page = text_of(client.get("/mailbox"))
    [one] = mailbox.mails()
    assert len(one.code) == 6
    assert one.code in page
    assert "new@example.org" in page


def test_it_is_empty_at_first(local, client):
    client.get(mailbox.link())
    assert "No mail in the last hour" in text_of(client.get("/mailbox"))


def test_mails_lie_where_only_their_owner_can_read_them(local, client):
    sign_up(client, "new@example.org")
    [path] = local.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(local.stat().st_mode) == 0o700


def test_they_are_gone_after_an_hour(local, client):
    sign_up(client, "new@example.org")
    make_older(local, dt.timedelta(minutes=59))
    assert mailbox.purge() == 0
    make_older(local, dt.timedelta(minutes=1))
    assert mailbox.mails() == []
    client.get(mailbox.link())
    assert "No mail in the last hour" in text_of(client.get("/mailbox"))
    assert mailbox.purge() == 1
    assert list(local.iterdir()) == []


# --- To whom it opens ----------------------------------------------------------------------------


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "192.0.2.1", ""])
@pytest.mark.parametrize("header", [None, "X-Forwarded-For", "Forwarded"])
def test_no_network_address_opens_it(local, client, peer, header):
    headers = {header: "127.0.0.1"} if header else {}
    sign_up(client, "new@example.org")
    assert client.get("/mailbox", REMOTE_ADDR=peer, headers=headers).status_code == 404
    page = client.get("/accounts/confirm-email/", REMOTE_ADDR=peer).content.decode()
    assert 'href="/mailbox"' not in page
    assert "make run" in page


def test_the_printed_link_opens_it_to_one_browser_from_anywhere(local, client):
    answer = client.get(mailbox.link(), REMOTE_ADDR="192.0.2.1")
    assert (answer.status_code, answer["Location"]) == (302, "/mailbox")
    assert client.get("/mailbox", REMOTE_ADDR="192.0.2.2").status_code == 200
    assert Client().get("/mailbox").status_code == 404


def test_the_token_is_in_no_page_cookie_or_log(local, client, settings, caplog):
    with caplog.at_level("DEBUG"):
        answers = [client.get(mailbox.link()), client.get("/mailbox")]
        Client().get("/mailbox", {"token": settings.MAILBOX_TOKEN + "x"})
    assert settings.MAILBOX_TOKEN not in caplog.text
    for answer in answers:
        assert "no-store" in answer["Cache-Control"]
        assert settings.MAILBOX_TOKEN not in answer.content.decode() + str(answer.headers)
    cookie = client.cookies[mailbox.COOKIE]
    assert settings.MAILBOX_TOKEN not in cookie.value
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


@pytest.mark.parametrize("token", ["", "x", "é", "\x00", "x" * 10_000])
def test_a_wrong_token_or_cookie_opens_nothing(local, client, token):
    assert client.get("/mailbox", {"token": token}).status_code == 404
    client.cookies[mailbox.COOKIE] = token.replace("\x00", "")
    assert client.get("/mailbox").status_code == 404


def test_another_token_closes_it(local, client, settings):
    client.get(mailbox.link())
    settings.MAILBOX_TOKEN = "another"
    assert client.get("/mailbox").status_code == 404


def test_without_a_token_in_the_environment_a_file_for_its_owner_alone_keeps_it(settings):
    file = Path(os.environ["KYMA_STATE_DIR"]) / "mailbox_token"
    assert file.read_text() == settings.MAILBOX_TOKEN
    assert len(settings.MAILBOX_TOKEN) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_with_a_mail_server_or_in_production_there_is_none(local, client, settings):
    settings.LOCAL_MAILBOX = False
    assert client.get(mailbox.link()).status_code == 404
    sign_up(client, "new@example.org")
    assert "no mail server" not in text_of(client.get("/accounts/confirm-email/"))


@pytest.mark.parametrize(
    ("template", "facts", "line"),
    [
        (
            "account/email/email_confirmation_signup",
            {"code": "123456"},
            "Mail to a@example.org: code 123456",
        ),
        (
            "account/email/password_reset_key",
            {"password_reset_url": "http://localhost/x"},
            "Mail to a@example.org: http://localhost/x",
        ),
        (
            "account/email/password_changed",
            {"ip": "192.0.2.1"},
            "Mail to a@example.org: Your password was changed",
        ),
    ],
)
def test_up_says_what_a_mail_carries(local, template, facts, line):
    mails.send(template, "a@example.org", facts)
    assert [one.line for one in mailbox.mails()] == [line]


def test_up_prints_each_mail_once_and_none_of_an_earlier_run(local, capsys):
    mailbox.put(to="old@example.org", subject="old", text="")
    rounds = []

    class Ended(Exception):
        pass

    class Programs:
        def check(self):
            rounds.append(len(rounds))
            if len(rounds) == 1:
                mailbox.put(to="one@example.org", subject="one", text="")
            elif len(rounds) == 2:
                mailbox.put(to="two@example.org", subject="two", text="")
            elif len(rounds) == 4:
                raise Ended

    class NoSignals:
        def check(self):
            return

    with pytest.raises(Ended):
        Command()._watch(Programs(), NoSignals())
    assert capsys.readouterr().out.split("\n")[:-1] == [
        "Mail to one@example.org: one",
        "Mail to two@example.org: two",
    ]
