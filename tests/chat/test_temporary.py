"""Chats of which nothing is stored."""

import asyncio
import base64
from itertools import pairwise

import pytest

from chat import events, replies
from chat.errors import NotAllowed
from chat.models import Message
from chat.prompt import Said
from gateway.database import in_thread
from gateway.models import Model, RequestContent
from gateway.serving import settlement
from tests.chat.test_pictures import SECRET, chunk, png
from tests.gateway.conftest import live_route
from tests.support.chat.chatting import held_up, run
from tests.support.gateway.receipts import INPUT, OUTPUT, PRICE, TEXT, USAGE, billed, estimate
from tests.support.live import Customer
from tests.support.provider.scripts import stream

State = Message.State


class Elsewhere(dict):
    """What is being written, by other processes as far as anybody who asks can tell."""

    def __contains__(self, reply_id) -> bool:
        return False


def test_a_temporary_chat_stores_nothing_but_what_it_cost(writer, fake):
    prompt = fake.script(stream(TEXT, usage=USAGE))
    earlier = [Said("user", "Hi"), Said("assistant", "Hello!")]

    async def story():
        said = [*earlier, Said("user", prompt)]
        snapshots = await replies.temporary(writer.user, said=said, model="scripted")
        return [one async for one in snapshots][-1]

    end = run(story())
    assert (end.state, end.text, end.cost_nano) == (State.FINISHED, TEXT, PRICE)
    (asked,) = fake.calls(prompt)
    assert [one["content"] for one in asked.json["messages"]] == ["Hi", "Hello!", prompt]
    assert not writer.user.conversations.exists()
    row = billed(writer, PRICE, outcome="finished", api="chat")
    assert not RequestContent.objects.filter(pk=row.id).exists()


def test_a_temporary_reply_ends_with_its_reader(writer, fake):
    prompt = held_up(fake)

    async def story():
        said = [Said("user", prompt)]
        snapshots = await replies.temporary(writer.user, said=said, model="scripted")
        async for snapshot in snapshots:
            if snapshot.text:
                break
        await snapshots.aclose()

    run(story())
    fake.wait_for_hang_up(prompt)
    assert writer.settled_request().outcome == "client-gone"


def test_a_temporary_reply_can_be_stopped_and_says_what_it_cost(writer, fake):
    prompt = held_up(fake)

    async def story():
        said = [Said("user", prompt)]
        async for snapshot in await replies.temporary(writer.user, said=said, model="scripted"):
            if snapshot.text:
                await replies.stop(writer.user, reply_id=snapshot.id)
        return snapshot

    end = run(story())
    nano = estimate(prompt, 6)[0] * INPUT + 2 * OUTPUT
    assert (end.state, end.text, end.cost_nano) == (State.STOPPED, "Hello ", nano)
    billed(writer, nano, outcome="client-gone")


def test_a_temporary_reply_is_charged_once_its_reader_has_all_of_it(writer, fake, monkeypatch):
    prompt, settle, story_of = fake.script(stream(TEXT, usage=USAGE)), settlement.settle, []

    async def noted(*arguments):
        story_of.append("charged")
        return await settle(*arguments)

    monkeypatch.setattr(settlement, "settle", noted)

    async def story():
        said = [Said("user", prompt)]
        async for snapshot in await replies.temporary(writer.user, said=said, model="scripted"):
            if snapshot.text == TEXT and not story_of:
                await asyncio.sleep(0.2)  # A charge that waits for nobody would come now.
                story_of.append("taken")

    run(story())
    assert story_of == ["taken", "charged"]
    billed(writer, PRICE, outcome="finished")


def test_a_piece_has_left_the_process_before_it_counts_as_taken(writer, fake):
    prompt = fake.script(stream(TEXT))

    async def story():
        said = [Said("user", prompt)]
        snapshots = await replies.temporary(writer.user, said=said, model="scripted")
        return [part async for part in events.of(snapshots, at_the_end=lambda _: {})]

    parts = run(story())
    after = [then for part, then in pairwise(parts) if part.startswith(b"event: update")]
    assert after
    assert set(after) == {events.FLUSH}


def test_a_reader_who_takes_too_long_pays_for_what_it_has(writer, fake, monkeypatch):
    monkeypatch.setattr("chat.turns.TAKE_WITHIN_S", 0.1)
    prompt = held_up(fake)

    async def story():
        said = [Said("user", prompt)]
        async for snapshot in await replies.temporary(writer.user, said=said, model="scripted"):
            if snapshot.text == "Hello ":
                fake.go(prompt, "the rest")  # Asking for the next, it has taken this one.
            elif snapshot.text == "Hello World" and not snapshot.is_over:
                await in_thread(writer.settled_request)
        return snapshot

    end = run(story())
    nano = estimate(prompt, 6)[0] * INPUT + 2 * OUTPUT
    assert (end.state, end.cost_nano) == (State.STOPPED, nano)
    billed(writer, nano, outcome="client-gone")


def test_a_reader_who_leaves_before_the_end_pays_for_what_it_has(writer, fake):
    prompt = held_up(fake)

    async def story():
        said = [Said("user", prompt)]
        snapshots = await replies.temporary(writer.user, said=said, model="scripted")
        async for snapshot in snapshots:
            if snapshot.text == "Hello ":
                fake.go(prompt, "the rest")
            elif snapshot.text:
                break
        await asyncio.to_thread(fake.wait_for_finish, prompt)
        await snapshots.aclose()

    run(story())
    billed(writer, estimate(prompt, 6)[0] * INPUT + 2 * OUTPUT, outcome="client-gone")


@pytest.mark.parametrize("is_own", [True, False])
def test_another_process_stops_a_temporary_reply_of_ones_own(writer, fake, monkeypatch, is_own):
    monkeypatch.setattr(replies, "_running", Elsewhere())
    prompt, who = held_up(fake), writer if is_own else Customer(None)

    async def story():
        said = [Said("user", prompt)]
        async for snapshot in await replies.temporary(writer.user, said=said, model="scripted"):
            if snapshot.text == "Hello ":
                await replies.stop_temporary(who.user, reply_id=snapshot.id)
                if not is_own:
                    fake.go(prompt, "the rest")
        return snapshot

    end = run(story())
    assert (end.state, end.text) == (
        (State.STOPPED, "Hello ") if is_own else (State.FINISHED, "Hello World")
    )


def test_a_temporary_chat_is_checked_like_any_other(writer):
    def refused(said, **fields):
        with pytest.raises(NotAllowed):
            run(replies.temporary(writer.user, said=said, model="scripted", **fields))

    refused([])
    refused([Said("assistant", "Hello")])
    refused([Said("user", " ")])
    refused([Said("user", "Look", ["https://example.org/x.png"])])
    refused([Said("user", "Hello")], parameters={"temperature": 9})


def test_a_picture_in_a_temporary_chat_says_no_more_than_it_shows(writer, fake):
    live_route("seeing", fake.base_url)
    Model.objects.filter(slug="seeing").update(capabilities=["vision"])
    prompt = fake.script(stream("A dot."))
    picture = base64.b64encode(png(chunk(b"tEXt", SECRET))).decode()

    async def story():
        said = [Said("user", prompt, [f"data:image/png;base64,{picture}"])]
        snapshots = await replies.temporary(writer.user, said=said, model="seeing")
        return [one async for one in snapshots][-1]

    assert run(story()).state == State.FINISHED
    (asked,) = fake.calls(prompt)
    image = asked.json["messages"][0]["content"][1]["image_url"]["url"]
    assert SECRET not in base64.b64decode(image.partition(",")[2])
