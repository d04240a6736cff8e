"""Chats of which nothing is stored."""

import base64

import pytest

from chat import replies
from chat.errors import NotAllowed
from chat.models import Message
from chat.prompt import Said
from gateway.models import Model, RequestContent
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
