import datetime as dt
import json
import stat

import pytest
from django.core import mail

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
    sign_up(client, "new@example.org")
    assert mail.outbox == []
    assert 'href="/mailbox"' in client.get("/accounts/confirm-email/").content.decode()
    page = text_of(client.get("/mailbox"))
    [one] = mailbox.mails()
    assert len(one.code) == 6
    assert one.code in page
    assert "new@example.org" in page


def test_it_is_empty_at_first(local, client):
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
    assert "No mail in the last hour" in text_of(client.get("/mailbox"))
    assert mailbox.purge() == 1
    assert list(local.iterdir()) == []


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", ""])
def test_only_this_machine_sees_it(local, client, peer):
    assert client.get("/mailbox", REMOTE_ADDR=peer).status_code == 404


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_what_came_by_a_proxy_is_not_from_this_machine(local, client, peer, header):
    assert client.get("/mailbox", REMOTE_ADDR=peer).status_code == 200
    answer = client.get("/mailbox", REMOTE_ADDR=peer, headers={header: "192.0.2.1"})
    assert answer.status_code == 404


def test_with_a_mail_server_or_in_production_there_is_none(local, client, settings):
    settings.LOCAL_MAILBOX = False
    assert client.get("/mailbox").status_code == 404
    sign_up(client, "new@example.org")
    assert 'href="/mailbox"' not in client.get("/accounts/confirm-email/").content.decode()


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
