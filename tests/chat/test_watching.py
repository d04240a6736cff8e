"""Readers of a reply that another process writes."""

import asyncio
import datetime as dt
from contextlib import ExitStack
from functools import partial

import pytest
import requests
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone

from chat import conversations, replies, stored_replies, watching
from chat.models import Message
from gateway.database import in_thread
from tests.gateway.conftest import _process_with, gateway
from tests.support.chat.chatting import run, until
from tests.support.chat.writing import say, talk
from tests.support.live import DEADLINE_S, Customer

__all__ = ["_process_with", "gateway"]

State = Message.State
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def looks(monkeypatch):
    """What each look at the database has found, as it comes."""
    read_changed, looks = stored_replies.read_changed, []

    def counted(known):
        looks.append(read_changed(known))
        return looks[-1]

    monkeypatch.setattr(stored_replies, "read_changed", counted)
    return looks


def test_many_who_follow_look_once_for_all(writer, looks):
    """Two replies, ten readers each: one look per tick, and a text is opened when it is new."""
    chats = [talk(writer.user, "Hi"), talk(writer.user, "Hi")]
    written = [say(one, "Hello", state="streaming", cost_nano=None) for one in chats]

    async def follow(reply):
        return [snapshot.state async for snapshot in replies.follow(reply)]

    async def story():
        readers = [asyncio.create_task(follow(reply)) for reply in written * 10]
        await until(written[0], lambda snapshot: snapshot.text == "Hello")
        await in_thread(partial(conversations.delete, writer.user, ids=[chats[1].id]))
        changed = Message.objects.filter(pk=written[0].pk)
        await in_thread(partial(changed.update, state=State.STOPPED, cost_nano=5))
        return await asyncio.gather(*readers)

    seen = run(story())
    assert {states[0] for states in seen} == {"streaming"}
    assert [states[-1] for states in seen] == ["stopped", "streaming"] * 10
    opened = [found for look in looks for found in look.values() if found is not None]
    assert len(opened) == 3
    assert watching._found == {}
    assert not watching._followers


def test_two_hundred_readers_hold_no_connection_and_keep_nobody_waiting(gateway):
    """More than there are connections to the database, or threads of the web process."""
    user = Customer(gateway).user
    # From the future, so that nobody takes its writer for dead, however long 200 readers take.
    writing = {"state": "streaming", "cost_nano": None, "updated_at": timezone.now() + HOUR}
    reply = say(talk(user, "Hi"), "Hello", **writing)
    with ExitStack() as stack, requests.Session() as browser:
        client = Client()
        client.force_login(user)
        name = settings.SESSION_COOKIE_NAME
        browser.headers["Cookie"] = f"{name}={client.cookies[name].value}"

        def get(path, **options):
            return browser.get(gateway.url + path, timeout=DEADLINE_S, **options)

        before = connections_of_others()
        for _ in range(200):
            reader = stack.enter_context(get(f"/chat/messages/{reply.id}/events", stream=True))
            assert next(reader.iter_lines()) == b"event: update"
        assert get("/chat").status_code == 200
        assert connections_of_others() < before + 30
        conversations.delete(user, ids=[reply.conversation_id])


def connections_of_others() -> int:
    if connection.vendor == "sqlite":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return cursor.fetchone()[0]
