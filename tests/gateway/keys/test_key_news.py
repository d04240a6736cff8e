"""Mails about new keys."""

import datetime as dt

import pytest
from django.core import mail
from django.test import Client

from accounts import notices
from accounts.models import ApiKey, Notice
from gateway.keys import management as key_management
from gateway.keys.fields import KeyFields
from tests.support.account_pages import just_signed_in, text_of
from tests.support.factories import make_key

pytestmark = pytest.mark.usefixtures("books")
NO_GRACE = dt.timedelta()


def fields(**columns) -> KeyFields:
    return KeyFields({"name": "a <b> name", **columns}, {})


def mailed() -> list[str]:
    """The texts of the mails that wait, which are sent by this."""
    mail.outbox.clear()
    for notice_id in notices.waiting():
        notices.send(notice_id)
    return [one.body for one in mail.outbox]


def test_a_mail_says_what_the_key_may_and_who_made_it(alice):
    key, text = key_management.make(alice.id, fields(scopes=["usage:read", "privacy"]), by=None)
    for secret in (b"a <b> name", key.start.encode(), b"alice"):
        assert secret not in bytes(Notice.objects.get().sealed)
    [body] = mailed()
    assert mail.outbox[0].to == ["alice@example.org"]
    for part in (
        "A new API key was made",
        "Name: a <b> name",
        f"Key: {key.start}…{key.end}",
        "read usage and the log of requests; read and delete what requests said",
        "By: somebody who was signed in",
        "revoke the key at /keys",
    ):
        assert part in body
    assert text not in body + str(mail.outbox[0].alternatives)
    assert "<b>" not in mail.outbox[0].alternatives[0].content


def test_a_person_learns_of_each_key_made_while_signed_in(alice):
    page = just_signed_in(alice)
    rules = {"name": "scripts", "retention_days": "90"}
    page.post("/keys/new", rules)
    page.post("/keys/new", {**rules, "scopes": ["keys"]})
    page.post("/keys/new", {**rules, "is_management": "on"})
    page.post("/api/keys", {"name": "CI"}, content_type="application/json")
    bodies = mailed()
    assert len(bodies) == ApiKey.objects.count() == 4
    assert sorted(body.split("It may: ")[1].split("\n")[0] for body in bodies) == [
        "ask models at /v1, and no more",
        "ask models at /v1, and no more",
        "make, change and revoke keys",
        "make, change and revoke your other keys at /v1/keys",
    ]


@pytest.mark.parametrize(("scopes", "count"), [([], 0), (["chat"], 1)])
def test_of_the_keys_that_a_key_makes_a_person_learns_of_those_with_scopes(alice, scopes, count):
    maker, _ = make_key(alice, name="deploy", scopes=["keys", "chat"])
    key_management.make(alice.id, fields(scopes=scopes), by=maker)
    bodies = mailed()
    assert len(bodies) == count
    assert all(f"By: the key “deploy”, {maker.start}…{maker.end}" in body for body in bodies)


@pytest.mark.parametrize(("scopes", "count"), [([], 0), (["chat"], 1)])
def test_the_same_holds_for_keys_that_it_rotates(alice, scopes, count):
    maker, _ = make_key(alice, scopes=["keys", "chat"])
    old, _ = make_key(alice, scopes=scopes)
    new, _ = key_management.rotate(alice.id, old.id, grace=NO_GRACE, by=maker)
    assert [f"{new.start}…{new.end}" in body for body in mailed()] == [True] * count


def test_a_person_learns_of_a_replaced_key(alice):
    old, _ = make_key(alice)
    new, _ = key_management.rotate(alice.id, old.id, grace=NO_GRACE, by=None)
    [body] = mailed()
    assert "was replaced by a new one" in body
    assert f"{new.start}…{new.end}" in body


def test_a_person_learns_of_a_key_that_may_more_and_not_of_one_that_may_less(alice):
    key, _ = make_key(alice, scopes=["account", "chat"])
    key_management.change(alice.id, key.id, fields(scopes=["chat"]), by=None)
    key_management.change(alice.id, key.id, fields(requests_per_minute=5), by=None)
    assert mailed() == []
    key_management.change(alice.id, key.id, fields(scopes=["chat", "keys"]), by=None)
    [body] = mailed()
    assert "may do more from now on" in body
    assert "make, change and revoke keys" in body


def test_a_key_that_is_not_made_is_no_news(alice, monkeypatch):
    monkeypatch.setattr(key_management, "MAX_KEYS", 0)
    just_signed_in(alice).post("/keys/new", {"name": "scripts", "retention_days": "90"})
    assert mailed() == []


# --- Sessions end, keys don't --------------------------------------------------------------------


def test_ending_sessions_says_that_keys_work_on(alice):
    client = just_signed_in(alice)
    assert "outlive sessions" not in text_of(client.get("/settings/security"))
    make_key(alice), make_key(alice)
    page = client.get("/settings/security")
    assert "API keys outlive sessions: you have 2 keys ." in text_of(page)
    assert '<a href="/keys">2 keys</a>' in page.content.decode()
    ended = client.post("/settings/sessions/end-others", follow=True)
    assert "API keys work on" in text_of(ended)
    assert Client().get("/settings/security").status_code == 302
