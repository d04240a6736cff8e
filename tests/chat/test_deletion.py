"""What a person deletes is gone (P3): all of a conversation, at once, and nobody else's."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from chat import conversations, messages
from chat.models import Conversation, Message
from gateway.log import content
from tests.support.api_client import signed_in
from tests.support.chat.writing import say, talk


def left() -> tuple[int, int]:
    return Conversation.objects.count(), Message.objects.count()


def test_a_conversation_goes_with_every_branch(alice):
    conversation = talk(alice, "Hi", "Hello!", "And?", "Well.")
    say(conversation, "Another branch", after=conversation.messages.get(parent=None))
    assert conversations.delete(alice, ids=[conversation.id]).count == 1
    assert left() == (0, 0)


def test_many_go_at_once_and_the_others_stay(alice):
    one, two, three = (talk(alice, "Hi", "Hello!") for _ in range(3))
    assert conversations.delete(alice, ids=[one.id, two.id, two.id]).count == 2
    assert list(Conversation.objects.all()) == [three]
    assert left() == (1, 2)


def test_nobody_deletes_what_is_anothers(alice, bob):
    conversation = talk(alice, "Hi")
    assert conversations.delete(bob, ids=[conversation.id]).count == 0
    assert left() == (1, 1)


def test_a_conversation_goes_while_a_reply_is_being_written(alice):
    conversation = talk(alice)
    messages.say(conversation, text="Hi")
    assert conversations.delete(alice, ids=[conversation.id]).count == 1
    assert left() == (0, 0)


def test_deleting_costs_the_same_however_long_the_conversation(alice, django_assert_num_queries):
    conversation = talk(alice, *["text"] * 30)
    with django_assert_num_queries(6):
        conversations.delete(alice, ids=[conversation.id])


def test_it_is_one_transaction(alice, monkeypatch):
    conversation = talk(alice, "Hi", "Hello!")

    def fail(*_, **__):
        raise RuntimeError("in the middle")

    # The messages are deleted by then, the conversation isn't.
    monkeypatch.setattr("django.db.models.sql.DeleteQuery.delete_batch", fail)
    with pytest.raises(RuntimeError):
        conversations.delete(alice, ids=[conversation.id])
    assert left() == (1, 2)


@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_nothing_is_left_in_the_files(committed_books, alice):
    conversation = talk(alice, "Hi", title="T")
    sealed = bytes(conversation.leaf.text)[:24]
    assert any(sealed in one for one in files())
    conversations.delete(alice, ids=[conversation.id])
    assert not any(sealed in one for one in files())


@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_deleting_waits_for_no_reader_and_says_what_is_left(committed_books, alice):
    conversation = talk(alice, "Hi", title="T")
    sealed = bytes(conversation.leaf.text)[:24]
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM chat_message").fetchone()
        begun = time.monotonic()
        page = signed_in(alice).post(f"/chat/{conversation.id}/delete", follow=True)
        assert time.monotonic() - begun < 5
        assert "because something still reads them" in page.text
        content.purge()
        assert any(sealed in one for one in files()), "the control"
    content.purge()
    assert not any(sealed in one for one in files())
    another = talk(alice, "Hi")
    page = signed_in(alice).post(f"/chat/{another.id}/delete", follow=True)
    assert "Deleted, with every message in it." in page.text
    assert "because something still reads them" not in page.text


def files() -> list[bytes]:
    database = Path(connection.settings_dict["NAME"])
    return [path.read_bytes() for path in database.parent.glob(f"{database.name}*")]
