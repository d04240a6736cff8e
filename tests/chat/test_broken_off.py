"""Chat turns that end before their time: their chat is deleted, their process ends or dies."""

import asyncio
import datetime as dt
import threading
from functools import partial
from types import SimpleNamespace

from django.utils import timezone

from chat import conversations, messages, replies, stored_replies
from chat.models import Message
from gateway.commits import sweeper
from gateway.database import in_thread
from kyma.asgi import application
from tests.support.chat import chatting
from tests.support.chat.chatting import begin, held_up, last, run, said_hello, stored, until
from tests.support.gateway.receipts import INPUT, OUTPUT, TEXT, billed, estimate
from tests.support.live import eventually
from tests.support.provider.scripts import WaitFor, stream

State = Message.State


def test_a_conversation_that_is_deleted_in_mid_answer_ends_it(writer, fake):
    conversation, prompt = begin(writer), held_up(fake)

    async def story():
        looking_on = replies.follow(await said_hello(conversation, prompt))
        await anext(looking_on)  # Who looks later finds nothing.
        await in_thread(partial(conversations.delete, writer.user, ids=[conversation.id]))
        await asyncio.to_thread(fake.wait_for_hang_up, prompt)
        return [snapshot async for snapshot in looking_on]

    *_, end = run(story())
    assert end.is_over
    assert not Message.objects.filter(conversation_id=conversation.id).exists()
    assert writer.settled_request().outcome == "client-gone"


def test_a_process_that_ends_interrupts_its_replies_which_are_free(writer, fake):
    conversation, prompt = begin(writer), held_up(fake)
    reply = run(said_hello(conversation, prompt))
    end = stored(reply.id)
    assert (end.state, end.text, end.cost_nano) == (State.INTERRUPTED, "Hello ", 0)
    billed(writer, 0, outcome="kyma-failed")


def test_one_that_was_still_waited_for_is_interrupted_too_and_is_nobodys_stop(writer, fake):
    conversation, prompt = begin(writer), fake.script([WaitFor("the end"), *stream(TEXT)])

    async def story():
        reply = await replies.send(conversation, text=prompt)
        await asyncio.to_thread(fake.wait_for_calls, prompt)
        return reply

    end = stored(run(story()).id)
    assert (end.state, end.text, end.cost_nano) == (State.INTERRUPTED, "", 0)
    billed(writer, 0, outcome="kyma-failed", status=503)


def test_what_begins_while_a_process_ends_is_interrupted_too(writer, fake, monkeypatch):
    """A request may be on its way to its database while all others are waited for."""
    one, other, prompt = begin(writer), begin(writer), held_up(fake)
    came, may_go_on = threading.Event(), threading.Event()

    def say(conversation, **named) -> Message:
        if conversation == other:
            came.set()
            may_go_on.wait()
        return messages.say(conversation, **named)

    async def story():
        reply = await said_hello(one, prompt)
        closing = asyncio.create_task(replies.close())
        monkeypatch.setattr(replies, "messages", SimpleNamespace(say=say))
        await asyncio.sleep(0)  # Now it knows of that one alone.
        late = asyncio.create_task(replies.send(other, text=prompt))
        await asyncio.to_thread(came.wait)
        await last(reply)
        was_done = bool((await asyncio.wait({closing}, timeout=0.1))[0])
        may_go_on.set()
        late_reply = await late
        await closing
        return was_done, late_reply

    was_done, late_reply = run(story())
    assert not was_done
    assert stored(late_reply.id).state == State.INTERRUPTED


def test_the_web_process_ends_its_chats_before_it_closes_its_books(writer, fake):
    conversation, prompt, sent = begin(writer), held_up(fake), []

    async def send(message):
        sent.append(message["type"])

    async def story():
        arriving: asyncio.Queue = asyncio.Queue()
        life = asyncio.create_task(application({"type": "lifespan"}, arriving.get, send))
        arriving.put_nowait({"type": "lifespan.startup"})
        reply = await said_hello(conversation, prompt)
        arriving.put_nowait({"type": "lifespan.shutdown"})
        await life
        return reply

    end = stored(run(story()).id)
    assert (end.state, end.cost_nano) == (State.INTERRUPTED, 0)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    billed(writer, 0, outcome="kyma-failed")


def test_another_process_sees_and_stops_a_reply(writer, fake):
    conversation, prompt = begin(writer), held_up(fake)
    with chatting.another_process(conversation, prompt) as (_, reply_id):
        reply = Message.objects.get(pk=reply_id)

        async def story():
            await until(reply, lambda snapshot: snapshot.text == "Hello ")
            await replies.stop(writer.user, reply_id=reply.id)
            return await last(reply)

        end = run(story())
    prompt_tokens, completion = estimate(prompt, 6)
    nano = prompt_tokens * INPUT + completion * OUTPUT
    assert (end.state, end.text, end.cost_nano) == (State.STOPPED, "Hello ", nano)
    billed(writer, nano, outcome="client-gone")


def test_a_killed_process_leaves_a_reply_that_is_marked_interrupted(writer, fake):
    conversation, prompt = begin(writer), held_up(fake)
    with chatting.another_process(conversation, prompt) as (process, reply_id):
        eventually(lambda: stored(reply_id).text == "Hello ")
        process.kill()
        process.wait()
    later = timezone.now() + dt.timedelta(minutes=1)
    assert stored_replies.end_silent(now=timezone.now()) == 0
    assert stored_replies.end_silent(now=later) == 1
    end = stored(reply_id)
    assert (end.state, end.text, end.cost_nano) == (State.INTERRUPTED, "Hello ", None)

    (hold,) = writer.holds()
    sweeper.sweep(now=hold.deadline + dt.timedelta(seconds=1))
    assert stored_replies.end_silent(now=later) == 1
    assert stored(reply_id).cost_nano == 0
    assert stored_replies.end_silent(now=later) == 0
    billed(writer, 0, outcome="lost", status=0)
