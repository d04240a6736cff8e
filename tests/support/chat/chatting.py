"""Chats on an event loop of this process, as the web process has them on its own."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chat import conversations, messages, replies, stored_replies
from chat.models import Conversation, Message
from chat.replies import Snapshot
from gateway.catalogue import entries
from gateway.v1 import handler as gateway
from tests.support.gateway.receipts import END, HELLO, STOP, WORLD
from tests.support.live import ROOT, Customer, database_urls
from tests.support.provider.scripts import Head, WaitFor


def run(story: Awaitable[Any]) -> Any:
    """Tell a story on a loop whose process ends well after it."""

    async def told() -> Any:
        try:
            return await story
        finally:
            await replies.close()
            await gateway.close()

    entries._catalogue.clear()  # It may know rows of an earlier test.
    return asyncio.run(told())


def begin(customer: Customer, *, model: str = "scripted", **fields) -> Conversation:
    return conversations.start(customer.user, model=model, **fields)


async def ask(conversation: Conversation, text: str, **fields) -> Snapshot:
    """Say `text` and wait for the whole reply."""
    return await last(await replies.send(conversation, text=text, **fields))


async def last(reply: Message) -> Snapshot:
    return await until(reply, lambda snapshot: snapshot.is_over)


async def until(reply: Message, wanted: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot that is `wanted`."""
    snapshot = None
    async for snapshot in replies.follow(reply):
        if wanted(snapshot):
            return snapshot
    raise AssertionError(f"never came: the last was {snapshot}")


def stored(reply_id: uuid.UUID) -> Snapshot:
    """The reply as it lies in the database."""
    _, snapshot = stored_replies.read_changed({reply_id: None})[reply_id]
    return snapshot


def held_up(fake) -> str:
    """A reply that stops after "Hello " until the test lets it go on."""
    return fake.script([Head(), HELLO, WaitFor("the rest"), WORLD, STOP, *END])


async def said_hello(conversation, text: str) -> Message:
    reply = await replies.send(conversation, text=text)
    await until(reply, lambda snapshot: snapshot.text == "Hello ")
    return reply


def texts(conversation: Conversation) -> list[str]:
    """What stands in the branch that is shown."""
    conversation.refresh_from_db()
    return [one.text for one in messages.page_of(conversation).shown]


@contextmanager
def another_process(conversation: Conversation, text: str) -> Iterator[tuple[Any, uuid.UUID]]:
    """A process that says `text` and has the reply written: it and the reply's id."""
    command = [
        sys.executable,
        "-m",
        "tests.support.chat.writing_process",
        str(conversation.id),
        text,
    ]
    environment = {**os.environ, **database_urls()}
    environment["DJANGO_SETTINGS_MODULE"] = "kyma.settings"
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process, uuid.UUID(process.stdout.readline().strip())
        finally:
            process.kill()
