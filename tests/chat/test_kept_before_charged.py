"""Nobody is charged for a reply whose text isn't kept."""

import asyncio
import datetime as dt
import threading
from functools import partial
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from chat import replies, stored_replies
from chat.models import Message
from chat.turns import Turn
from gateway.database import in_thread
from gateway.serving import settlement
from tests.support.chat.chatting import (
    ask,
    begin,
    held_up,
    last,
    run,
    said_hello,
    stored,
    texts,
)
from tests.support.gateway.receipts import PRICE, TEXT, USAGE, billed
from tests.support.live import DEADLINE_S
from tests.support.provider.scripts import stream

State = Message.State


@pytest.fixture
def stored_when_charged(monkeypatch):
    """What the database holds of a reply each time when its charge begins, by `of`."""
    settle, found = settlement.settle, SimpleNamespace(of=None, replies=[])

    async def looked_at(*arguments):
        reply = await in_thread(Message.objects.get, found.of)
        found.replies.append(await in_thread(stored, reply.id))
        return await settle(*arguments)

    monkeypatch.setattr(settlement, "settle", looked_at)
    return found


def of_reply(conversation) -> Q:
    return Q(conversation=conversation, role=Message.Role.ASSISTANT)


def test_a_whole_text_is_stored_before_it_is_charged(writer, fake, stored_when_charged):
    conversation = begin(writer)
    stored_when_charged.of = of_reply(conversation)
    end = run(ask(conversation, fake.script(stream(TEXT, usage=USAGE))))
    (then,) = stored_when_charged.replies
    assert (then.text, then.cost_nano) == (TEXT, None)
    assert (end.state, end.cost_nano) == (State.FINISHED, PRICE)


def test_a_stopped_text_is_stored_before_it_is_charged(writer, fake, stored_when_charged):
    conversation, prompt = begin(writer), held_up(fake)
    stored_when_charged.of = of_reply(conversation)

    async def story():
        reply = await said_hello(conversation, prompt)
        await replies.stop(writer.user, reply_id=reply.id)
        return await last(reply)

    assert run(story()).cost_nano > 0
    (then,) = stored_when_charged.replies
    assert (then.state, then.text, then.cost_nano) == (State.STOPPED, "Hello ", None)


@pytest.mark.parametrize("was_taken_for_dead", [False, True])
def test_a_process_that_dies_after_the_charge_leaves_a_finished_reply(
    writer, fake, monkeypatch, was_taken_for_dead
):
    """What the next process makes of it, right after the commit and before this one stores it."""
    conversation, later = begin(writer), timezone.now() + dt.timedelta(minutes=1)
    settle, found = settlement.settle, []

    async def settle_and_die(*arguments):
        if was_taken_for_dead:
            await in_thread(partial(stored_replies.end_silent, now=later))
        charged = await settle(*arguments)
        await in_thread(partial(stored_replies.end_silent, now=later))
        reply = await in_thread(Message.objects.get, of_reply(conversation))
        found.append(await in_thread(stored, reply.id))
        return charged

    monkeypatch.setattr(settlement, "settle", settle_and_die)
    run(ask(conversation, fake.script(stream(TEXT, usage=USAGE))))
    (end,) = found
    assert (end.state, end.text, end.cost_nano) == (State.FINISHED, TEXT, PRICE)
    billed(writer, PRICE, outcome="finished")


def test_a_database_that_is_busy_for_a_moment_delays_the_charge(writer, fake, monkeypatch):
    store, tries, conversation = stored_replies.store, [], begin(writer)

    def fail_twice(snapshot, cipher):
        tries.append(snapshot)
        if len(tries) <= 2:
            assert not writer.usage_entries()
            raise OperationalError("database is locked")
        return store(snapshot, cipher)

    monkeypatch.setattr(stored_replies, "store", fail_twice)
    monkeypatch.setattr("chat.turns.STORE_INTERVAL_S", 0.05)
    end = run(ask(conversation, fake.script(stream(TEXT, usage=USAGE))))
    assert (end.state, end.text, end.cost_nano) == (State.FINISHED, TEXT, PRICE)
    assert texts(conversation)[-1] == TEXT


@pytest.mark.endurance
def test_a_database_that_is_busy_for_22_s_delays_the_charge(writer, fake):
    """Longer than a connection to SQLite waits by itself."""
    conversation, prompt, released = begin(writer), held_up(fake), threading.Event()

    async def story():
        reply = await said_hello(conversation, prompt)
        locking = await locked(reply, released)
        fake.go(prompt, "the rest")
        await asyncio.sleep(22)
        assert not await in_thread(writer.usage_entries)
        released.set()
        await locking
        return await last(reply)

    end = run(story())
    assert (end.state, end.text) == (State.FINISHED, "Hello World")
    assert stored(end.id) == end
    billed(writer, end.cost_nano, outcome="finished")


@pytest.mark.parametrize("is_stopped", [False, True])
def test_what_the_database_does_not_take_in_time_is_free(writer, fake, monkeypatch, is_stopped):
    """Another session locks the reply from before its last piece until that was given up."""
    conversation, prompt, given_up = begin(writer), held_up(fake), threading.Event()
    monkeypatch.setattr("chat.turns.KEEP_WITHIN_S", 0.2)
    not_kept = Turn._not_kept

    def note(turn, state):
        given_up.set()
        return not_kept(turn, state)

    monkeypatch.setattr(Turn, "_not_kept", note)

    async def story():
        reply = await said_hello(conversation, prompt)
        locking = await locked(reply, given_up)
        if is_stopped:
            await replies.stop(writer.user, reply_id=reply.id)
        else:
            fake.go(prompt, "the rest")
        await locking
        return await last(reply)

    end = run(story())
    if is_stopped:
        assert (end.state, end.text, end.cost_nano) == (State.STOPPED, "Hello ", 0)
    else:
        assert (end.state, end.text, end.cost_nano) == (State.FAILED, "Hello World", 0)
        assert end.error_text == "Kyma could not store this answer. Nothing was charged."
    billed(writer, 0, outcome="kyma-failed")


async def locked(reply: Message, released: threading.Event) -> asyncio.Task:
    """Lock the reply, on SQLite the whole database, until it is released. Return when it is."""
    is_locked, loop = asyncio.Event(), asyncio.get_running_loop()

    def lock():
        try:
            with transaction.atomic():
                Message.objects.select_for_update().get(pk=reply.id)
                loop.call_soon_threadsafe(is_locked.set)
                assert released.wait(2 * DEADLINE_S)
        finally:
            connection.close()

    locking = asyncio.create_task(asyncio.to_thread(lock))
    await is_locked.wait()
    return locking
