"""Two tabs on one conversation, with rows of a moment ago: neither hides what the other did."""

import pytest

from chat import conversations, messages
from chat.errors import NotAllowed
from chat.models import Conversation, Message
from tests.chat.writing import say, talk

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
