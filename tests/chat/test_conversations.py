import datetime as dt

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.errors import SealBroken
from accounts.keyring import data_keys
from chat import conversations, messages
from chat.errors import ChatsFull, NotAllowed, StillAnswering
from chat.models import Conversation, Message
from tests.support.chat.writing import say, talk

pytestmark = pytest.mark.usefixtures("books")

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def title_of(conversation: Conversation) -> str:
    conversation.refresh_from_db()
    return conversation.opened(data_keys.cipher_of(conversation.user_id), "title")


def titles(user, **fields) -> list[str]:
    return [one.title for one in conversations.listed(user, **fields)]


def texts(conversation: Conversation) -> list[str]:
    return [one.text for one in messages.page_of(conversation).shown]


def finish(reply: Message, **fields) -> Message:
    Message.objects.filter(pk=reply.pk).update(state="finished", cost_nano=0, **fields)
    reply.refresh_from_db()
    return reply


# --- As a whole ----------------------------------------------------------------------------------


def test_a_conversation_begins_with_what_is_said_first(alice):
    reply = messages.start(alice, model="scripted", text="How do tides work?")
    conversation = Conversation.objects.get()
    assert title_of(conversation) == "How do tides work?"
    assert texts(conversation) == ["How do tides work?", ""]
    assert conversation.leaf == reply


@pytest.mark.parametrize("more", [0, 4_100])
def test_what_cannot_be_said_begins_none(alice, settings, more):
    """Whether there is no room for a conversation, or none for what is said in it."""
    settings.CHAT_BYTES_PER_PERSON = more
    with pytest.raises(ChatsFull):
        messages.start(alice, model="scripted", text="How do tides work?")
    assert not Conversation.objects.exists()


def test_a_title_that_was_given_meanwhile_stays(alice):
    conversation = conversations.start(alice, model="scripted")
    conversations.change(Conversation.objects.get(pk=conversation.pk), title="Tides")
    messages.say(conversation, text="How do tides work?")
    assert title_of(conversation) == "Tides"


def test_the_first_message_makes_the_title(alice):
    conversation = conversations.start(alice, model="m")
    finish(messages.say(conversation, text="  Why is\nthe sky  blue?"))
    finish(messages.say(conversation, text="And the sea?"))
    assert title_of(conversation) == "Why is the sky blue?"


def test_a_long_first_message_is_cut_between_words():
    title = conversations.title_from("word " * 50)
    assert title == "word word word word word word word word word word word…"
    assert len(conversations.title_from("x" * 500)) == conversations.TITLE_LENGTH


def test_a_name_that_was_given_stays(alice):
    conversation = talk(alice)
    conversations.change(conversation, title=" My  talk ")
    messages.say(conversation, text="Hi")
    assert title_of(conversation) == "My talk"
    for wrong in ("", " ", "x" * 201):
        with pytest.raises(NotAllowed):
            conversations.change(conversation, title=wrong)


def test_the_list_has_the_pinned_first_then_the_last_used(alice, bob):
    one, two, three = (talk(alice, title=title) for title in ("one", "two", "three"))
    talk(bob, title="bob's")
    messages.say(two, text="Hi")
    assert titles(alice) == ["two", "three", "one"]
    conversations.change(one, pinned=True)
    assert titles(alice) == ["one", "two", "three"]
    conversations.change(one, pinned=False)
    conversations.change(three, archived=True)
    assert titles(alice) == ["two", "one"]
    assert titles(alice, archived=True) == ["three"]
    conversations.change(three, archived=False)
    assert titles(alice) == ["two", "three", "one"]


def test_system_prompt_parameters_and_model_are_the_conversations_own(alice):
    conversation = conversations.start(alice, model="m")
    conversations.change(
        conversation,
        system_prompt=" Be brief. ",
        parameters={"temperature": 0.2, "top_p": None},
        model="n",
    )
    conversation.refresh_from_db()
    cipher = data_keys.cipher_of(alice.id)
    assert conversation.opened(cipher, "system_prompt") == "Be brief."
    assert (conversation.parameters, conversation.model) == ({"temperature": 0.2}, "n")
    conversations.change(conversation, system_prompt="")
    conversation.refresh_from_db()
    assert conversation.system_prompt is None


@pytest.mark.parametrize(
    "refused",
    [{"title": " "}, {"model": ""}, {"parameters": {"seed": 1}}, {"system_prompt": "x" * 100_001}],
)
def test_nothing_is_changed_by_half(alice, refused):
    conversation = talk(alice, title="T", model="m")
    wanted = {"title": "New", "pinned": True, "archived": True, "model": "n"}
    with pytest.raises(NotAllowed):
        conversations.change(conversation, **(wanted | refused))
    conversation.refresh_from_db()
    assert (title_of(conversation), conversation.model) == ("T", "m")
    assert (conversation.pinned_at, conversation.archived_at) == (None, None)


@pytest.mark.parametrize(
    "parameters",
    [{"temperature": 3}, {"temperature": "1"}, {"top_p": -1}, {"max_tokens": 0}, {"seed": 1}],
)
def test_parameters_out_of_range_are_refused(alice, parameters):
    with pytest.raises(NotAllowed):
        conversations.start(alice, model="m", parameters=parameters)


def test_what_is_no_slug_is_no_model(alice):
    conversation = talk(alice)
    for wrong in ("", "x" * 97, "a\x00b"):
        with pytest.raises(NotAllowed):
            conversations.change(conversation, model=wrong)


def test_a_text_opens_in_its_own_place_alone(alice, bob):
    conversation = talk(alice, "Hi", system_prompt="Be brief.", title="T")
    cipher = data_keys.cipher_of(alice.id)
    conversation.title = conversation.system_prompt
    with pytest.raises(SealBroken):
        conversation.opened(cipher, "title")
    with pytest.raises(SealBroken):
        conversation.leaf.opened(data_keys.cipher_of(bob.id), "text")


# --- The tree ------------------------------------------------------------------------------------


def test_an_edit_begins_another_branch_and_keeps_the_first(alice):
    conversation = talk(alice, "Hi", "Hello!", "How are you?", "Fine.")
    third = messages.page_of(conversation).shown[2].message
    reply = finish(messages.edit(third, text="Who are you?"))
    assert texts(third.conversation) == ["Hi", "Hello!", "Who are you?", ""]
    shown = messages.page_of(third.conversation).shown
    assert (shown[2].position, len(shown[2].siblings)) == (2, 2)
    assert (shown[0].position, len(shown[0].siblings)) == (1, 1)
    assert reply.parent_id == shown[2].message.id

    messages.switch_to(third)
    conversation.refresh_from_db()
    assert texts(conversation) == ["Hi", "Hello!", "How are you?", "Fine."]


def test_the_first_message_can_be_edited_too(alice):
    conversation = talk(alice, "Hi", "Hello!")
    first = messages.page_of(conversation).shown[0].message
    finish(messages.edit(first, text="Good day"))
    conversation.refresh_from_db()
    assert texts(conversation) == ["Good day", ""]
    assert messages.page_of(conversation).shown[0].position == 2


def test_another_reply_stands_beside_the_first(alice):
    conversation = talk(alice, "Hi", "Hello!")
    first = conversation.leaf
    second = finish(messages.regenerate(first))
    shown = messages.page_of(first.conversation).shown
    assert shown[1].siblings == (first.id, second.id)
    assert shown[1].message == second
    messages.switch_to(first)
    conversation.refresh_from_db()
    assert texts(conversation) == ["Hi", "Hello!"]


def test_a_reply_that_failed_empty_makes_room_for_the_next(alice):
    conversation = talk(alice, "Hi")
    failed = say(conversation, "", state="failed", error="insufficient_credits")
    new = messages.regenerate(failed)
    assert messages.page_of(failed.conversation).shown[1].siblings == (new.id,)


def test_a_reply_that_failed_with_something_to_show_stays(alice):
    failed = say(talk(alice, "Hi"), "Hel", state="failed", error="provider_unavailable")
    messages.regenerate(failed)
    assert Message.objects.filter(pk=failed.pk).exists()


def test_only_ones_own_words_are_edited_and_only_replies_regenerated(alice):
    conversation = talk(alice, "Hi", "Hello!")
    said, reply = (one.message for one in messages.page_of(conversation).shown)
    with pytest.raises(NotAllowed):
        messages.edit(reply, text="I said so")
    with pytest.raises(NotAllowed):
        messages.regenerate(said)


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("", []),
        (" \n", []),
        ("x" * 1_000_001, []),
        ("Look", [PIXEL] * 5),
        ("Look", ["data:image/svg+xml;base64,AAAA"]),
        ("Look", ["https://example.org/x.png"]),
        ("Look", [PIXEL + "!"]),
        ("Look", ["data:image/png;base64," + "A" * 2_100_000]),
    ],
)
def test_what_is_no_message_is_refused_and_nothing_is_stored(alice, text, images):
    conversation = talk(alice)
    with pytest.raises(NotAllowed):
        messages.say(conversation, text=text, images=images)
    assert not conversation.messages.exists()


def test_one_reply_is_written_at_a_time(alice):
    conversation = talk(alice, "Hi", "Hello!")
    first = conversation.leaf
    messages.say(conversation, text="How are you?")
    for add in (
        lambda: messages.say(conversation, text="Well?"),
        lambda: messages.regenerate(first),
        lambda: messages.edit(conversation.messages.get(parent=None), text="Well?"),
    ):
        with pytest.raises(StillAnswering):
            add()
    assert conversation.messages.count() == 4


def test_a_reply_that_nobody_writes_any_more_holds_nothing_up(alice):
    conversation = talk(alice)
    dead = messages.say(conversation, text="Hi")
    Message.objects.filter(pk=dead.pk).update(updated_at=timezone.now() - dt.timedelta(minutes=1))
    messages.say(conversation, text="Still there?")
    dead.refresh_from_db()
    assert (dead.state, dead.cost_nano) == (Message.State.INTERRUPTED, 0)


def test_a_conversation_that_was_deleted_takes_no_message(alice):
    conversation = talk(alice, "Hi", "Hello!")
    conversations.delete(alice, ids=[conversation.id])
    with pytest.raises(NotAllowed, match="deleted"):
        messages.say(conversation, text="Still there?")


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "streaming"},
        {"cost_nano": None},
        {"cost_nano": 5},
        {"role": "assistant", "cost_nano": -1},
        {"role": "assistant", "state": "failed"},
    ],
)
def test_the_database_refuses_what_makes_no_sense(alice, wrong):
    fields = {"role": "user", **wrong}
    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.create(conversation=talk(alice), **fields)


def test_a_conversation_grows_no_longer_than_it_can_be_asked(alice, settings):
    settings.MAX_BODY_BYTES = 300
    conversation = conversations.start(alice, model="scripted")
    first = say(conversation, "x" * 100)
    with pytest.raises(NotAllowed, match="too long"):
        messages.say(conversation, text="x" * 200)
    assert [one.id for one in conversation.messages.all()] == [first.id]
    assert messages.edit(first, text="x" * 200).is_streaming
