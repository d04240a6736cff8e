"""Conversations and lists that are long: shown by pages, and never at everybody else's cost."""

import asyncio
import uuid

import pytest
from django.test import Client

from chat import conversations, events, markdown, messages
from chat.pages import articles
from chat.stored_replies import Snapshot
from tests.support.chat.writing import talk
from tests.support.factories import make_provider, make_route

PAGE = messages.PAGE


@pytest.fixture(autouse=True)
def a_model(books):
    return make_route("scripted", provider=make_provider(self_hosted=True))


@pytest.fixture
def hers(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def long_talk(user, count: int, **fields):
    return talk(user, *[f"text {number}." for number in range(count)], **fields)


def texts(page: messages.Page) -> list[str]:
    return [one.text for one in page.shown]


def test_a_page_holds_the_end_of_a_conversation_and_leads_to_what_was_before(alice):
    conversation = long_talk(alice, 2 * PAGE + 3)
    last = messages.page_of(conversation)
    middle = messages.page_of(conversation, at=last.earlier)
    first = messages.page_of(conversation, at=middle.earlier)
    assert [len(page.shown) for page in (first, middle, last)] == [3, PAGE, PAGE]
    said = [f"text {number}." for number in range(2 * PAGE + 3)]
    assert texts(first) + texts(middle) + texts(last) == said
    assert first.earlier is last.later is None
    assert messages.page_of(conversation, at=first.later) == middle
    assert messages.page_of(conversation, at=middle.later) == last


def test_what_is_on_no_page_shows_the_last(alice):
    conversation = long_talk(alice, PAGE + 1)
    assert messages.page_of(conversation, at=uuid.uuid4()) == messages.page_of(conversation)
    assert messages.page_of(talk(alice)) == messages.Page([], None, None)


def test_the_pages_lead_to_each_other_and_search_leads_to_the_right_one(alice, hers):
    conversation = long_talk(alice, PAGE + 2)
    page = messages.page_of(conversation)
    path = f"/chat/{conversation.id}"
    text = hers.get(path).content.decode()
    assert f'href="?at={page.earlier}#end"' in text
    assert "text 1." not in text
    assert hers.get(path, {"at": "no id"}).content.decode().count("<article") == PAGE
    found = hers.post(f"/chat/messages/{page.earlier}/show", follow=True).content.decode()
    assert f'id="m-{page.earlier}"' in found
    assert "Later messages" in found


def test_every_conversation_is_on_a_page_of_the_list(alice, hers, monkeypatch):
    monkeypatch.setattr("chat.pages.list_views.PAGE", 2)
    for number in range(5):
        talk(alice, title=f"Chat {number}")

    def listed(query: str) -> list[str]:
        # The tick boxes: the newest stand beside the page too.
        text = hers.get(f"/chat/all{query}").content.decode()
        return [f"Chat {number}" for number in range(5) if f"Tick “Chat {number}”" in text]

    assert [listed(f"?page={number}") for number in (1, 2, 3, 4)] == [
        ["Chat 3", "Chat 4"],
        ["Chat 1", "Chat 2"],
        ["Chat 0"],
        [],
    ]
    assert listed("") == listed("?page=x") == listed("?page=0") == listed("?page=1")
    assert 'href="?page=3">Older chats' in hers.get("/chat/all?page=2").content.decode()
    assert "There are no more chats." in hers.get("/chat/all?page=4").content.decode()


def test_the_list_is_taken_from_any_place(alice):
    for number in range(4):
        talk(alice, title=f"Chat {number}")
    rest = conversations.listed(alice, start=1, limit=2)
    assert [one.title for one in rest] == ["Chat 2", "Chat 1"]


def test_a_page_renders_so_much_and_shows_the_rest_as_it_was_written(alice, monkeypatch):
    monkeypatch.setattr(markdown, "MOST_RENDERED", 25)
    conversation = talk(alice, "One?", "**<old>** answer", "Two?", "**new** answer")
    _, old, said, new = articles.articles(messages.page_of(conversation).shown)
    assert new.html == "<p><strong>new</strong> answer</p>\n"
    assert old.html == '<p class="as-written">**&lt;old&gt;** answer</p>'
    assert said.text == "Two?"


def test_what_takes_long_to_render_is_rendered_less_often(monkeypatch):
    """A reader whose list is rendered anew each time takes no more than a share of the process."""
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    async def grown():
        for text in ("- a", "- a\n- b", "- a\n- b\n- c"):
            yield Snapshot(uuid.uuid4(), "streaming", text)

    times = iter([0.01, 0.01, 0, 0.05, 3, 4])  # to parse and to render: 20 ms, 50 ms, 7 s

    async def read():
        return [one async for one in events.of(grown(), at_the_end=lambda _: {}) if one]

    monkeypatch.setattr(events, "_timed", lambda work: (work(), next(times)))
    monkeypatch.setattr(events.asyncio, "sleep", pause)
    assert len(asyncio.run(read())) == 3
    assert pauses == pytest.approx([0.2, 0.5, events.LONGEST_PAUSE_S], abs=0.1)
