"""Two tabs on one conversation, with rows of a moment ago: neither hides what the other did."""

import re

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from chat import conversations, messages, replies
from chat.errors import NotAllowed
from chat.models import Conversation, Message
from chat.pages import conversation_page, reply_views, views
from tests.support.chat.writing import say, talk
from tests.support.factories import make_account, make_provider, make_route

pytestmark = pytest.mark.usefixtures("books")


def of_another_tab(conversation: Conversation) -> Conversation:
    """The same row, as it is now."""
    return Conversation.objects.get(pk=conversation.pk)


def finish(reply: Message) -> None:
    Message.objects.filter(pk=reply.pk).update(state="finished", cost_nano=0)


def texts(conversation: Conversation) -> list[str]:
    return [one.text for one in messages.page_of(of_another_tab(conversation)).shown]


@pytest.mark.parametrize("said_before", [(), ("Hi", "Hello!")])
def test_what_a_second_tab_says_follows_what_the_first_said(alice, said_before):
    one = talk(alice, *said_before)
    other = of_another_tab(one)
    finish(messages.say(one, text="First"))
    messages.say(other, text="Second")
    assert texts(one) == [*said_before, "First", "", "Second", ""]


def test_a_branch_is_measured_as_it_is_when_something_is_added(alice, settings):
    settings.MAX_BODY_BYTES = 300
    one = talk(alice)
    other = of_another_tab(one)
    say(one, "x" * 100)
    with pytest.raises(NotAllowed, match="too long"):
        messages.say(other, text="x" * 200)
    assert one.messages.count() == 1


def test_a_model_that_a_second_tab_chose_is_asked(alice):
    one = talk(alice)
    conversations.change(of_another_tab(one), model="other")
    assert messages.say(one, text="Hi").model == "other"


# --- Deleted in another tab ----------------------------------------------------------------------


def test_a_branch_that_is_gone_is_not_gone_over_to(alice):
    """A reply that failed made room for another, while a tab still shows it."""
    conversation = talk(alice, "Hi")
    failed = say(conversation, "", state="failed", error="provider_unavailable")
    shown = Message.objects.select_related("conversation").get(pk=failed.pk)
    new = messages.regenerate(failed)
    messages.switch_to(shown)
    assert of_another_tab(conversation).leaf_id == new.id


@pytest.fixture
def hers(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def deleted_meanwhile(monkeypatch):
    """Whatever a view finds is deleted before it does something with it."""

    def one_of(find):
        def found(user, some_id):
            one = find(user, some_id)
            conversation = one.conversation if isinstance(one, Message) else one
            conversations.delete(user, ids=[conversation.id])
            return one

        return found

    for module in (views, reply_views):
        for name in ("own_conversation", "own_message"):
            monkeypatch.setattr(module, name, one_of(getattr(conversation_page, name)))


@pytest.mark.usefixtures("deleted_meanwhile")
@pytest.mark.parametrize(
    ("action", "sent"),
    [
        ("rename", {"title": "T"}),
        ("pin", {"pinned": "yes"}),
        ("archive", {"archived": "yes"}),
        ("show", {}),
    ],
)
def test_what_was_deleted_is_not_there(action, sent, alice, hers):
    conversation = talk(alice, "Hi", "Hello!")
    about = f"messages/{conversation.leaf_id}" if action == "show" else conversation.id
    assert hers.post(f"/chat/{about}/{action}", sent).status_code == 404


@pytest.mark.usefixtures("deleted_meanwhile")
def test_instructions_for_what_was_deleted_are_not_lost(alice, hers):
    conversation = talk(alice, "Hi", "Hello!")
    answer = hers.post(f"/chat/{conversation.id}/settings", {"system_prompt": "My instructions"})
    assert answer.status_code == 422
    assert re.search(r"was deleted.*My instructions", answer.content.decode(), re.DOTALL)


@pytest.mark.usefixtures("deleted_meanwhile")
def test_neither_is_a_draft(alice, hers, monkeypatch):
    make_route("scripted", provider=make_provider(self_hosted=True))
    make_account(alice, unlimited=True)
    monkeypatch.setattr(replies, "send", sync_to_async(messages.say))  # In this test's books.
    path = f"/chat/{talk(alice, 'Hi', 'Hello!').id}/send"
    answer = hers.post(path, {"text": "My draft", "model": "scripted"})
    assert answer.status_code == 422
    assert re.search(r"was deleted.*My draft</textarea>", answer.content.decode(), re.DOTALL)
