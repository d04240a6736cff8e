"""What is stored of one person has a bound; what would be more is refused and lost nowhere."""

import orjson
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from chat import conversations, messages, quota
from chat.errors import ChatsFull
from chat.files import transfer
from chat.models import Conversation, Message
from chat.quota import ROW_BYTES
from tests.support.api_client import by_key, signed_in
from tests.support.chat.writing import say, talk
from tests.support.factories import make_provider, make_route

pytestmark = pytest.mark.usefixtures("a_model")


@pytest.fixture
def a_model(_some_books):
    return make_route("scripted", provider=make_provider(self_hosted=True))


@pytest.fixture
def hers(alice) -> Client:
    return signed_in(alice)


@pytest.fixture
def room(alice, settings):
    """Leave alice so many bytes more than she has used."""

    def leave(more: int) -> None:
        settings.CHAT_BYTES_PER_PERSON = quota.used(alice.id) + more

    return leave


def test_everything_counts_that_lies_sealed_and_each_row(alice, bob):
    conversation = talk(alice, title="Tides", system_prompt="Be brief.")
    message = say(conversation, "Hi")
    seal = conversation.title + conversation.system_prompt + message.text
    assert quota.used(alice.id) == 2 * ROW_BYTES + len(seal)
    reply = say(conversation, "Hello!")
    Message.objects.filter(pk=reply.pk).update(
        text=None, reasoning=b"12", images=b"345", error_text=b"6789"
    )
    assert quota.used(alice.id) == 3 * ROW_BYTES + len(seal) + 9
    assert quota.used(bob.id) == 0


def test_what_still_fits_is_stored_and_what_is_more_is_not(alice, room):
    conversation = talk(alice, "One", "Two", title="A talk")
    room(2 * ROW_BYTES + 1_000)
    with pytest.raises(ChatsFull, match="at most 0 MB are stored of one person"):
        messages.say(conversation, text="x" * 1_000)
    assert conversation.messages.count() == 2
    reply = messages.say(conversation, text="x" * 900)
    assert conversation.messages.count() == 4
    Message.objects.filter(pk=reply.pk).update(state="finished", cost_nano=0)
    for again in (messages.regenerate, lambda one: messages.edit(one.parent, text="x")):
        with pytest.raises(ChatsFull):
            again(Message.objects.get(pk=reply.pk))


def test_the_title_that_a_first_message_makes_counts_too(alice, room):
    conversation = talk(alice)
    seal = len(say(talk(alice), "Hi").text)
    room(2 * ROW_BYTES + seal)
    with pytest.raises(ChatsFull):
        messages.say(conversation, text="Hi")
    room(2 * ROW_BYTES + 2 * seal)
    assert messages.say(conversation, text="Hi").is_streaming


def test_the_full_write_again_once_they_have_deleted_something(alice, room):
    old, conversation = talk(alice, "One", "Two", "Three"), talk(alice, "One", "Two")
    room(0)
    with pytest.raises(ChatsFull):
        messages.say(conversation, text="x")
    conversations.delete(alice, ids=[old.id])
    assert messages.say(conversation, text="x").is_streaming


def test_instructions_count_and_can_always_be_shortened(alice, room):
    conversation = talk(alice, "One", system_prompt="x" * 500)
    room(ROW_BYTES + 100)
    with pytest.raises(ChatsFull):
        conversations.start(alice, model="scripted", system_prompt="x" * 100)
    with pytest.raises(ChatsFull):
        conversations.change(conversation, system_prompt="x" * (ROW_BYTES + 700))
    room(-1)
    conversations.change(conversation, system_prompt="Be brief.")
    room(-1)
    with pytest.raises(ChatsFull):
        conversations.change(conversation, system_prompt="Be brief, be brief.")


def test_a_file_that_is_too_much_stays_out(alice, room):
    content = orjson.dumps([{"role": "user", "content": "x" * 500}] * 3)
    room(4 * ROW_BYTES + len(content) - 1)
    with pytest.raises(ChatsFull):
        transfer.import_file(alice, content=content, model="scripted")
    assert not Conversation.objects.exists()
    room(4 * ROW_BYTES + len(content))
    assert transfer.import_file(alice, content=content, model="scripted")


# --- On the pages --------------------------------------------------------------------------------


@pytest.mark.usefixtures("committed_books")
@pytest.mark.parametrize("left", [0, 2 * ROW_BYTES])  # Not even a chat, or one without a message.
def test_a_first_message_stays_in_its_box_and_leaves_no_chat(hers, room, left):
    room(left)
    answer = hers.post("/chat/start", {"text": "My draft", "model": "scripted"})
    assert answer.status_code == 422
    assert "My draft</textarea>" in answer.text
    assert "Your chats are full" in answer.text
    assert 'data-code="chats_full" href="/chat/all">All chats' in answer.text
    assert not Conversation.objects.exists()


@pytest.mark.usefixtures("committed_books")
@pytest.mark.parametrize("action", ["{one.id}/send", "messages/{said.id}/edit"])
def test_a_message_stays_in_its_box(alice, hers, room, action):
    one = talk(alice, "Hi", "Hello!")
    room(0)
    path = "/chat/" + action.format(one=one, said=one.messages.get(parent=None))
    answer = hers.post(path, {"text": "My draft", "model": "scripted"})
    assert answer.status_code == 422
    assert "My draft</textarea>" in answer.text
    assert "Your chats are full" in answer.text
    told = hers.post(
        path, {"text": "My draft", "model": "scripted"}, headers={"Accept": "application/json"}
    )
    assert 'data-code="chats_full" href="/chat/all">All chats' in answer.text
    assert 'data-code="insufficient_credits" href="/billing" hidden' in answer.text
    assert (told.status_code, told.json()["code"]) == (422, "chats_full")
    assert one.messages.count() == 2


def test_instructions_stay_in_their_form(alice, hers, room):
    one = talk(alice, "Hi")
    room(0)
    answer = hers.post(f"/chat/{one.id}/settings", {"system_prompt": "Be brief."})
    assert answer.status_code == 422
    assert "Be brief.</textarea>" in answer.text
    assert "Your chats are full" in answer.text


def test_a_file_is_refused_with_the_reason(hers, room):
    room(0)
    file = SimpleUploadedFile("chats", b"## User\n\nHi")
    answer = hers.post("/chat/import", {"file": file})
    assert answer.status_code == 422
    assert "Your chats are full" in answer.text


# --- At /api/ ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("committed_books")
def test_the_api_says_what_to_do(alice, room):
    one = talk(alice, "Hi", "Hello!")
    client = by_key(alice, scopes=["chat"])
    path = f"/api/conversations/{one.id}"
    room(0)
    calls = [
        client.post("/api/conversations", {"model": "m"}, content_type="application/json"),
        client.patch(path, {"system_prompt": "Be brief."}, content_type="application/json"),
        client.post(f"{path}/messages", {"text": "x"}, content_type="application/json"),
        client.post(f"{path}/messages/{one.leaf_id}/regenerate"),
    ]
    assert [(one.status_code, one.json()["code"]) for one in calls] == [(409, "chats_full")] * 4
    assert "Delete some" in calls[0].json()["detail"]
    assert one.messages.count() == 2
