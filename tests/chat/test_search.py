import gc
import time
from contextlib import contextmanager

import pytest

from accounts.ids import uuid7
from accounts.keyring import data_keys
from chat import conversations, search
from chat.models import Message
from tests.support.chat.writing import say, talk

pytestmark = pytest.mark.usefixtures("books")


def found(user, text: str) -> list[str]:
    return [one.before + one.match + one.after for one in search.search(user, text=text)]


def test_it_finds_texts_in_any_case_the_newest_first(alice):
    talk(alice, "How do I boil an Egg?", "Put the egg into water.")
    talk(alice, "An EGG again", "Fine.")
    assert found(alice, "egg") == [
        "An EGG again",
        "Put the egg into water.",
        "How do I boil an Egg?",
    ]


def test_it_finds_titles_first(alice):
    conversation = talk(alice, "Nothing about it", title="Breakfast")
    talk(alice, "What is a good breakfast?")
    title, text = search.search(alice, text="breakfast")
    assert (title.conversation_id, title.message_id) == (conversation.id, None)
    assert (title.title, title.match) == ("Breakfast", "Breakfast")
    assert text.message_id is not None


def test_it_says_where_and_shows_the_surroundings(alice):
    conversation = talk(alice, "a " * 200 + "needle" + " b" * 200, title="Hay")
    (hit,) = search.search(alice, text="needle")
    assert (hit.conversation_id, hit.message_id) == (conversation.id, conversation.leaf.id)
    assert (hit.title, hit.match) == ("Hay", "needle")
    assert len(hit.before) == len(hit.after) == search.AROUND


def test_it_finds_other_branches_and_other_white_space(alice):
    conversation = talk(alice, "One", "Two")
    say(conversation, "another\n branch")
    say(conversation, "Three", after=conversation.messages.get(parent=None))
    assert found(alice, "another branch") == ["another\n branch"]


def test_it_takes_what_is_asked_literally(alice):
    talk(alice, "What is .* in Grüße?")
    assert found(alice, ".*") == ["What is .* in Grüße?"]
    assert found(alice, "GRÜSSE") == []
    assert found(alice, "GRÜßE") == ["What is .* in Grüße?"]
    assert found(alice, "w.*t") == found(alice, " ") == found(alice, "x" * 300) == []


def test_it_searches_ones_own_alone(alice, bob):
    talk(alice, "a secret", title="secret")
    assert search.search(bob, text="secret") == []


def test_what_was_deleted_is_not_found(alice):
    conversation = talk(alice, "a secret")
    conversations.delete(alice, ids=[conversation.id])
    assert search.search(alice, text="secret") == []


def test_it_stops_at_fifty_hits(alice):
    conversation = talk(alice)
    many(conversation, ["the same"] * 80)
    assert len(search.search(alice, text="same")) == 50


def test_twenty_thousand_messages_take_less_than_a_second(alice):
    """The worst case: what is wanted stands in the oldest message alone."""
    conversation = talk(alice, "needle")
    many(conversation, ["Some hay, of about the length that a message has. " * 12] * 20_000)
    with frozen_heap():
        begun = time.thread_time()
        (hit,) = search.search(alice, text="NEEDLE")
        assert time.thread_time() - begun < 1
    assert hit.match == "needle"


@contextmanager
def frozen_heap():
    """As in the web process: what else has been loaded isn't searched for garbage."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def many(conversation, texts: list[str]) -> None:
    cipher = data_keys.cipher_of(conversation.user_id)
    rows = []
    for text in texts:
        message = Message(id=uuid7(), conversation=conversation, role="user")
        message.seal(cipher, text=text)
        rows.append(message)
    Message.objects.bulk_create(rows, batch_size=500)
