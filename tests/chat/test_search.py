import gc
import re
import time
from contextlib import contextmanager

import pytest

from accounts.ids import uuid7
from accounts.keyring import data_keys
from chat import conversations, search
from chat.models import Message
from gateway.errors import TooManyRequests
from tests.support.api_client import by_key, signed_in
from tests.support.chat.writing import say, talk
from tests.support.factories import make_user

pytestmark = pytest.mark.usefixtures("books")


def found(user, text: str) -> list[str]:
    return [one.before + one.match + one.after for one in search.search(user, text=text).hits]


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
    title, text = search.search(alice, text="breakfast").hits
    assert (title.conversation_id, title.message_id) == (conversation.id, None)
    assert (title.title, title.match) == ("Breakfast", "Breakfast")
    assert text.message_id is not None


def test_it_says_where_and_shows_the_surroundings(alice):
    conversation = talk(alice, "a " * 200 + "needle" + " b" * 200, title="Hay")
    (hit,) = search.search(alice, text="needle").hits
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


def test_a_phrase_is_shown_as_it_was_written(alice):
    talk(alice, "  One\t\n two  THREE four")
    (hit,) = search.search(alice, text="e TWO   thr").hits
    assert (hit.before, hit.match, hit.after) == ("  On", "e\t\n two  THR", "EE four")


def test_letters_whose_case_is_special_keep_their_places(alice):
    talk(alice, "İİ ΟΔΟΣ und K")
    (hit,) = search.search(alice, text="οδοσ").hits
    assert (hit.before, hit.match) == ("İİ ", "ΟΔΟΣ")
    longer = [chr(code) for code in range(0x110000) if len(search._folded(chr(code))) != 1]
    assert longer == []


def test_more_than_ten_words_are_refused(alice):
    client = signed_in(alice)
    asked = client.get("/chat/all", {"q": "a " * 11})
    assert asked.status_code == 422
    assert "at most 10 words" in asked.text
    refused = by_key(alice, scopes=["chat"]).get("/api/conversations/search", {"text": "a " * 11})
    assert refused.status_code == 400
    assert "at most 10 words" in refused.text


def test_what_there_was_no_time_for_is_named_and_searched_next(alice, settings):
    conversation = talk(alice, "old needle")
    many(conversation, ["hay"] * 3)
    settings.CHAT_SEARCH_TIME_S = -1  # Enough for one message.
    client, path, pages = signed_in(alice), "/chat/all?q=needle", 1
    while "Search on" in (page := client.get(path).text):
        assert "Older messages haven’t been searched yet." in page
        assert "stands in none" not in page
        path = "/chat/all" + re.search(r'href="(\?q=[^"]*)">Search on', page)[1].replace(
            "&amp;", "&"
        )
        pages += 1
    assert pages == 4
    assert "1 place in older messages." in page
    assert "old <mark>needle</mark>" in page


def test_the_api_goes_on_by_cursor(alice):
    conversation = talk(alice)
    many(conversation, [f"the same {number}" for number in range(70)])
    client, found, cursor = by_key(alice, scopes=["chat"]), [], {}
    while True:
        body = client.get("/api/conversations/search", {"text": "same", **cursor}).json()
        found += body["data"]
        if body["next_cursor"] is None:
            break
        cursor = {"cursor": body["next_cursor"]}
    assert [one["after"] for one in found] == [f" {number}" for number in reversed(range(70))]


def test_a_person_searches_once_at_a_time_and_few_at_once(alice, bob, settings):
    settings.CHAT_SEARCH_TIME_S = 0.01
    talk(alice, "needle")
    with search._turn(alice):
        refused = signed_in(alice).get("/chat/all?q=needle")
        assert refused.status_code == 429
        assert "still running" in refused.text
        with search._turn(bob):
            carol = make_user("dora@example.org")
            with pytest.raises(TooManyRequests, match="Many people"):
                search.search(carol, text="needle")
    settings.CHAT_SEARCH_TIME_S = 10
    assert found(alice, "needle") == ["needle"]


def test_it_searches_ones_own_alone(alice, bob):
    talk(alice, "a secret", title="secret")
    assert search.search(bob, text="secret").hits == []


def test_what_was_deleted_is_not_found(alice):
    conversation = talk(alice, "a secret")
    conversations.delete(alice, ids=[conversation.id])
    assert search.search(alice, text="secret").hits == []


def test_it_stops_at_fifty_hits(alice):
    conversation = talk(alice)
    many(conversation, ["the same"] * 80)
    assert len(search.search(alice, text="same").hits) == 50


def test_twenty_thousand_messages_take_less_than_a_second(alice):
    """The worst case: what is wanted stands in the oldest message alone."""
    conversation = talk(alice, "needle")
    many(conversation, ["Some hay, of about the length that a message has. " * 12] * 20_000)
    with frozen_heap():
        begun = time.thread_time()
        (hit,) = search.search(alice, text="NEEDLE").hits
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
