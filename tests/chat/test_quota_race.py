"""Nobody stores more than their quota, however much is sent at once."""

import contextlib

import pytest

from chat import conversations, messages, quota
from chat.errors import ChatsFull
from chat.files import transfer
from tests.support.at_once import at_once
from tests.support.chat.writing import talk

AT_ONCE = 8
FITTING = 3
SPARE = 500  # A file counts a little less until it is stored, sealed.
LONG = "x" * 5_000


def begin(alice):
    return lambda: conversations.start(alice, model="scripted", system_prompt=LONG)


def instruct(alice):
    one = talk(alice)
    return lambda: conversations.change(one, system_prompt=LONG)


def say(alice):
    one = talk(alice)
    return lambda: messages.say(one, text=LONG)


def edit(alice):
    said = talk(alice, "Hi", "Hello!").messages.get(parent=None)
    return lambda: messages.edit(said, text=LONG)


def regenerate(alice):
    reply = talk(alice, "Hi", "Hello!").leaf
    return lambda: messages.regenerate(reply)


def take_in(alice):
    content = f"## User\n\n{LONG}".encode()
    return lambda: transfer.import_file(alice, content=content, model="scripted")


def size_of(action, alice) -> int:
    before = quota.used(alice.id)
    action()
    return quota.used(alice.id) - before


@pytest.mark.parametrize("kind", [begin, instruct, say, edit, regenerate, take_in])
def test_of_8_at_once_those_are_stored_that_fit(
    committed_books, alice, settings, kind, monkeypatch
):
    # As in eight processes: one imports a single file at a time.
    monkeypatch.setattr(transfer, "importing", contextlib.nullcontext)
    size = size_of(kind(alice), alice)
    actions = [kind(alice) for _ in range(AT_ONCE)]
    most = quota.used(alice.id) + FITTING * size + SPARE
    settings.CHAT_BYTES_PER_PERSON = most
    outcomes = at_once(actions, ChatsFull)
    assert outcomes == ["chats_full"] * (AT_ONCE - FITTING) + ["made"] * FITTING
    assert quota.used(alice.id) <= most


def test_instructions_count_as_they_are_now(committed_books, alice, settings):
    """Not as they were when whoever changes them looked."""
    seen, shortened = (one := talk(alice, system_prompt=LONG)), type(one).objects.get(pk=one.pk)
    conversations.change(shortened, system_prompt="")
    settings.CHAT_BYTES_PER_PERSON = quota.used(alice.id) + len(LONG)
    with pytest.raises(ChatsFull):
        conversations.change(seen, system_prompt=LONG + "x")
