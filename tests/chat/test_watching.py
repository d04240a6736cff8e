"""Readers of a reply that another process writes."""

import asyncio
from functools import partial

import pytest

from chat import conversations, replies, stored_replies, watching
from chat.models import Message
from gateway.database import in_thread
from tests.chat.chatting import run, until
from tests.chat.writing import say, talk

State = Message.State


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
