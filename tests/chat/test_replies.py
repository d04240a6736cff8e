"""Chat turns from their first word to their bill, on a real provider's wire."""

import asyncio
import datetime as dt
from functools import partial
from types import SimpleNamespace

import pytest

from accounts.models import User
from chat import messages, replies
from chat.errors import NoVision, StillAnswering
from chat.models import Message
from gateway.commits import sweeper
from gateway.commits.queue import CommitFailed
from gateway.database import in_thread
from gateway.models import Model, RequestContent
from gateway.serving import settlement
from tests.gateway.conftest import live_route
from tests.support.chat.chatting import (
    ask,
    begin,
    held_up,
    last,
    run,
    said_hello,
    stored,
    texts,
    until,
)
from tests.support.factories import make_account
from tests.support.gateway.receipts import (
    END,
    HELLO,
    INPUT,
    OUTPUT,
    PRICE,
    STOP,
    TEXT,
    USAGE,
    WORLD,
    billed,
    estimate,
)
from tests.support.live import Customer
from tests.support.provider.scripts import (
    Event,
    Head,
    Reset,
    WaitFor,
    chunk,
    error,
    stream,
    usage_chunk,
    usage_of,
)

State = Message.State
PIXEL = "data:image/png;base64,iVBORw0KGgo="


# --- Answering -----------------------------------------------------------------------------------


def test_a_reply_is_written_stored_and_charged_like_any_other(writer, fake):
    conversation = begin(writer)
    prompt = fake.script(stream(TEXT, usage=USAGE))
    end = run(ask(conversation, prompt))
    assert (end.state, end.text, end.cost_nano) == (State.FINISHED, TEXT, PRICE)
    assert (end.prompt_tokens, end.completion_tokens) == (10, 2)
    assert (end.model, end.provider) == ("scripted", "scripted")
    row = billed(writer, PRICE, outcome="finished", api="chat", streamed=True, key_id=None)
    reply = Message.objects.get(pk=end.id)
    assert (reply.request_id, reply.cost_nano) == (row.id, PRICE)
    assert texts(conversation) == [prompt, TEXT]


def test_a_chat_leaves_no_content_in_the_request_log(writer, fake):
    run(ask(begin(writer), fake.script(stream(TEXT))))
    row = writer.settled_request()
    assert not RequestContent.objects.filter(pk=row.id).exists()


def test_what_is_stored_of_a_chat_is_sealed(writer, fake):
    conversation = begin(writer, system_prompt="Speak of secrets.")
    prompt = fake.script(stream(TEXT))
    run(ask(conversation, prompt))
    conversation.refresh_from_db()
    rows = [conversation.title, conversation.system_prompt]
    rows += list(conversation.messages.values_list("text", flat=True))
    for plain in (prompt, TEXT, "secrets"):
        assert not any(plain.encode() in bytes(one) for one in rows)


def test_reasoning_is_kept_apart(writer, fake):
    thought = Event(chunk({"reasoning_content": "Hm. "}))
    prompt = fake.script([Head(), thought, HELLO, STOP, *END])
    end = run(ask(begin(writer), prompt))
    assert (end.reasoning, end.text) == ("Hm. ", "Hello ")


def test_reasoning_among_the_parts_of_content_is_shown_too(writer, fake):
    """Mistral answers like this."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm. "}]}
    parts = [[thinking], [{"type": "text", "text": "Hello "}]]
    events = [Event(chunk({"content": part})) for part in parts]
    end = run(ask(begin(writer), fake.script([Head(), *events, STOP, *END])))
    assert (end.reasoning, end.text) == ("Hm. ", "Hello ")


def test_a_reply_is_shown_as_it_grows(writer, fake):
    prompt = held_up(fake)

    async def story():
        reply = await said_hello(begin_, prompt)
        fake.go(prompt, "the rest")
        return [snapshot.text async for snapshot in replies.follow(reply)]

    begin_ = begin(writer)
    shown = run(story())
    assert shown == sorted(shown, key=len)
    assert shown[-1] == "Hello World"


def test_the_model_is_asked_with_the_branch_alone(writer, fake):
    conversation = begin(writer, system_prompt="Be brief.", parameters={"temperature": 0.5})
    first, second = fake.script(stream("One")), fake.script(stream("Two"))

    async def story():
        await ask(conversation, "elsewhere " + first)
        said = await in_thread(lambda: conversation.messages.get(role="user"))
        await last(await replies.edit(said, text=first))
        await in_thread(conversation.refresh_from_db)
        await ask(conversation, second)

    run(story())
    (asked,) = fake.calls(second)
    assert asked.json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": first},
        {"role": "assistant", "content": "One"},
        {"role": "user", "content": second},
    ]
    assert asked.json["temperature"] == 0.5
    sent = asked.body.decode() + str(asked.headers)
    for ours in (writer.user.email, writer.user.id, writer.account.id, conversation.id):
        assert str(ours) not in sent


def test_who_hangs_up_while_it_is_stored_still_has_it_written(writer, fake, monkeypatch):
    conversation, prompt = begin(writer), fake.script(stream(TEXT))

    async def story():
        loop = asyncio.get_running_loop()

        def say(*arguments, **named) -> Message:
            reply = messages.say(*arguments, **named)
            loop.call_soon_threadsafe(sending.cancel)
            return reply

        monkeypatch.setattr(replies, "messages", SimpleNamespace(say=say))
        sending = asyncio.create_task(replies.send(conversation, text=prompt))
        await asyncio.wait({sending})
        assert sending.cancelled()
        assert replies.are_being_written()
        return await last(await in_thread(partial(conversation.messages.get, role="assistant")))

    assert run(story()).text == TEXT


def test_one_reply_at_a_time(writer, fake):
    conversation, prompt = begin(writer), held_up(fake)

    async def story():
        await said_hello(conversation, prompt)
        with pytest.raises(StillAnswering):
            await replies.send(conversation, text="impatient")

    run(story())
    assert texts(conversation) == [prompt, "Hello "]


# --- Images --------------------------------------------------------------------------------------


def test_a_model_with_vision_gets_the_image(writer, fake):
    live_route("seeing", fake.base_url)
    Model.objects.filter(slug="seeing").update(capabilities=["vision"])
    conversation, prompt = begin(writer, model="seeing"), fake.script(stream("A dot."))
    end = run(ask(conversation, prompt, images=[PIXEL]))
    assert end.state == State.FINISHED
    image = {"type": "image_url", "image_url": {"url": PIXEL}}
    (asked,) = fake.calls(prompt)
    assert asked.json["messages"][0]["content"] == [{"type": "text", "text": prompt}, image]
    assert messages.page_of(conversation).shown[0].images == [PIXEL]


def test_a_model_without_vision_gets_none_and_the_draft_stays_a_draft(writer, fake):
    conversation = begin(writer)
    with pytest.raises(NoVision):
        run(replies.send(conversation, text="Look", images=[PIXEL]))
    assert not conversation.messages.exists()


# --- Stop ----------------------------------------------------------------------------------------


def test_stop_keeps_what_came_and_charges_for_that(writer, fake):
    conversation, prompt = begin(writer), held_up(fake)

    async def story():
        reply = await said_hello(conversation, prompt)
        await replies.stop(writer.user, reply_id=reply.id)
        return await last(reply)

    end = run(story())
    prompt_tokens, completion = estimate(prompt, 6)
    nano = prompt_tokens * INPUT + completion * OUTPUT
    assert (end.state, end.text, end.cost_nano) == (State.STOPPED, "Hello ", nano)
    assert (end.prompt_tokens, end.completion_tokens) == (prompt_tokens, 2)
    fake.wait_for_hang_up(prompt)
    billed(writer, nano, outcome="client-gone", status=200, estimated=True)
    assert texts(conversation) == [prompt, "Hello "]


def test_stop_is_seen_before_a_provider_that_bills_on_has_told_its_price(writer, fake):
    live_route("drained", fake.base_url, stops_billing_on_cancel=False)
    conversation = begin(writer, model="drained")
    usage = Event(usage_chunk(usage_of(10, 4)))
    prompt = fake.script([Head(), HELLO, WaitFor("the rest"), WORLD, STOP, usage, *END])

    async def story():
        reply = await said_hello(conversation, prompt)
        await replies.stop(writer.user, reply_id=reply.id)
        early = await until(reply, lambda snapshot: snapshot.state == State.STOPPED)
        fake.go(prompt, "the rest")
        return early, await last(reply)

    early, end = run(story())
    share = 4 * 6 // 11  # of the completion, by the bytes that were taken in
    nano = 10 * INPUT + share * OUTPUT
    assert (early.text, early.cost_nano) == ("Hello ", None)
    assert (end.state, end.text, end.cost_nano) == (State.STOPPED, "Hello ", nano)
    billed(writer, nano, outcome="client-gone", completion_tokens=share)


def test_stop_before_the_first_word_is_free(writer, fake):
    prompt = fake.script([WaitFor("the end")])

    async def story():
        reply = await replies.send(conversation, text=prompt)
        await asyncio.to_thread(fake.wait_for_calls, prompt)
        await replies.stop(writer.user, reply_id=reply.id)
        return await last(reply)

    conversation = begin(writer)
    end = run(story())
    assert (end.state, end.text, end.cost_nano) == (State.STOPPED, "", 0)
    billed(writer, 0, outcome="client-gone")


def test_stop_that_comes_while_it_is_charged_is_too_late(writer, fake, monkeypatch):
    conversation, prompt = begin(writer), fake.script(stream(TEXT, usage=USAGE))
    settle, may_settle, settling = settlement.settle, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments):
        settling.set()
        await may_settle.wait()
        return await settle(*arguments)

    async def story():
        monkeypatch.setattr(settlement, "settle", slowly)
        reply = await replies.send(conversation, text=prompt)
        await settling.wait()
        await replies.stop(writer.user, reply_id=reply.id)
        may_settle.set()
        return await last(reply)

    end = run(story())
    assert (end.state, end.text, end.cost_nano) == (State.FINISHED, TEXT, PRICE)
    assert stored(end.id) == end
    billed(writer, PRICE, outcome="finished")


def test_what_cannot_be_settled_is_free_and_says_so(writer, fake, monkeypatch):
    async def fail(*_):
        raise CommitFailed("the database took too long")

    monkeypatch.setattr(settlement, "settle", fail)
    end = run(ask(begin(writer), fake.script(stream(TEXT))))
    assert (end.state, end.text, end.cost_nano) == (State.FAILED, TEXT, 0)
    assert end.error == "server"
    (hold,) = writer.holds()
    sweeper.sweep(now=hold.deadline + dt.timedelta(seconds=1))
    billed(writer, 0, outcome="lost")


def test_nobody_stops_the_reply_of_another(writer, fake):
    stranger, prompt = Customer(None), held_up(fake)

    async def story():
        reply = await said_hello(conversation, prompt)
        await replies.stop(stranger.user, reply_id=reply.id)
        fake.go(prompt, "the rest")
        return await last(reply)

    conversation = begin(writer)
    assert run(story()).state == State.FINISHED


# --- Refusals and failures -----------------------------------------------------------------------


def test_without_credit_the_reply_fails_and_can_be_asked_again(scripted, fake):
    poor = Customer(None, balance_nano=0)
    conversation, prompt = begin(poor), fake.script(stream(TEXT, usage=USAGE))
    end = run(ask(conversation, prompt))
    assert (end.state, end.error, end.cost_nano) == (State.FAILED, "insufficient_credits", 0)
    assert "credit" in end.error_text
    assert texts(conversation) == [prompt, ""]

    make_account(poor.user, balance_nano=1_000_000_000, unlimited=True)
    failed = Message.objects.select_related("conversation").get(pk=end.id)

    async def again():
        return await last(await replies.regenerate(failed))

    assert run(again()).state == State.FINISHED
    assert texts(conversation) == [prompt, TEXT]
    assert not Message.objects.filter(pk=failed.pk).exists()


def test_a_provider_that_fails_in_mid_answer_is_free(writer, fake):
    prompt = fake.script([Head(), HELLO, Reset()])
    end = run(ask(begin(writer), prompt))
    assert (end.state, end.text, end.cost_nano) == (State.FAILED, "Hello ", 0)
    assert end.error == "provider_unavailable"
    billed(writer, 0, outcome="upstream-failed", status=200)


def test_a_provider_that_refuses_says_why(writer, fake):
    end = run(ask(begin(writer), fake.script(error(400, "Too rude."))))
    assert end.state == State.FAILED
    assert "Too rude." in end.error_text


def test_a_model_that_is_gone_and_a_suspended_account_are_told(writer, fake):
    assert run(ask(begin(writer, model="gone"), "Hello")).error == "model_not_found"
    User.objects.filter(pk=writer.user.pk).update(state=User.State.SUSPENDED)
    assert run(ask(begin(writer), "Hello")).error == "account_suspended"
    assert writer.balance_nano() == 1_000_000_000


def test_a_fault_of_ours_is_free(writer, fake, monkeypatch):
    def fail(*_):
        raise RuntimeError("a fault")

    monkeypatch.setattr("chat.turns.Answer.feed", fail)
    end = run(ask(begin(writer), fake.script(stream(TEXT))))
    assert (end.state, end.error, end.cost_nano) == (State.FAILED, "server", 0)
    billed(writer, 0, outcome="kyma-failed")
