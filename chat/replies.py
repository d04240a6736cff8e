"""A chat turn: a reply, written by its own task in the web process even if nobody follows it.

All functions run on the event loop of the web process. `start`, `send`, `edit` and `regenerate`
store the person's message and begin the reply; `follow` shows it as it grows, from any process;
only `stop` ends it before its time.

    reply = await replies.send(conversation, text=…)          # a Message, state "streaming"
    async for snapshot in replies.follow(reply): …            # until snapshot.is_over
    await replies.stop(user, reply_id=reply.id)

A snapshot holds the whole text so far, not its last piece. `follow` yields one at once and then
when there is more, at most ten a second. In silence it repeats the last, so that a connection
whose browser has gone is noticed. After Stop the text is final at once, and `cost_nano` is None
until the bill is settled. The views answer with server-sent events, one snapshot each.

A refusal (no credit, a rate limit, no provider) is a failed reply with a code. The person's message
is stored, and `regenerate` replaces the empty reply by a new try.
"""

import asyncio
import contextlib
import functools
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from django.conf import settings
from django.core.cache import cache

from accounts.ids import uuid7
from accounts.models import User
from chat import conversations, messages, prompt, stored_replies, watching
from chat.errors import NotAllowed, NoVision
from chat.models import Conversation, Message
from chat.prompt import Said
from chat.stored_replies import Snapshot
from chat.turns import TemporaryTurn, Turn
from gateway.access.authentication import Caller, signed_in
from gateway.catalogue.entries import catalogue
from gateway.database import in_thread

logger = logging.getLogger(__name__)

SNAPSHOT_INTERVAL_S = 0.1  # at least, between two snapshots of one follower
STOP_KEPT_S = 60  # for the Stop of a temporary reply, in case its process is slow to look

_running: dict[uuid.UUID, Turn] = {}
_beginning: set[asyncio.Task] = set()


async def start(user: User, *, model: str, text: str, images: Sequence[str] = ()) -> Message:
    """Begin a conversation with its first message.

    Raises NotAllowed, NoVision, ChatsFull, or Unavailable without a database, and then stores
    nothing.
    """
    begun = functools.partial(messages.start, user, model=model, text=text, images=images)
    return await _begin(begun)


async def send(
    conversation: Conversation, *, text: str, images: Sequence[str] = (), model: str = ""
) -> Message:
    """Add a message. `model` is kept for later messages; empty means the conversation's own.

    Raises as `start` does, and StillAnswering. Then nothing is stored, not even the model.
    """
    said = {"text": text, "images": images, "model": model}
    return await _begin(functools.partial(messages.say, conversation, **said))


async def edit(
    message: Message, *, text: str, images: Sequence[str] = (), model: str = ""
) -> Message:
    """Add another version of `message`. `model` and errors are those of `send`."""
    said = {"text": text, "images": images, "model": model}
    return await _begin(functools.partial(messages.edit, message, **said))


async def regenerate(reply: Message, *, model: str = "") -> Message:
    """Add another reply beside `reply`. `model` and errors are those of `send`."""
    return await _begin(functools.partial(messages.regenerate, reply, model=model))


async def _begin(add: Callable[..., Message]) -> Message:
    """Store and start a reply. Once stored it is written, even if its caller hangs up then."""
    beginning = asyncio.create_task(_store_and_run(add))
    _beginning.add(beginning)
    beginning.add_done_callback(_beginning.discard)
    return await asyncio.shield(beginning)


async def _store_and_run(add: Callable[..., Message]) -> Message:
    reply, caller, body = await in_thread(_added, add, await _blind())
    assert reply.request_id is not None
    turn = Turn(
        reply.id,
        caller,
        body,
        request_id=reply.request_id,
        store=lambda snapshot: in_thread(stored_replies.store, snapshot, caller.cipher),
    )
    _run(turn)
    return reply


def _added(add: Callable[..., Message], blind: set[str]) -> tuple[Message, Caller, dict]:
    reply = add(blind=blind)
    caller = signed_in(User.objects.get(pk=reply.conversation.user_id))
    return reply, caller, prompt.body_for(reply, caller.cipher)


async def _blind() -> set[str]:
    """Return the models that see no images."""
    models = await catalogue()
    return {slug for slug, one in models.items() if "vision" not in one.capabilities}


def _run(turn: Turn) -> None:
    _running[turn.id] = turn
    turn.begin()
    turn.task.add_done_callback(functools.partial(_ended, turn))


def _ended(turn: Turn, task: asyncio.Task) -> None:
    _running.pop(turn.id, None)
    if not task.cancelled() and task.exception() is not None:
        logger.error("chat turn %s ended by %r", turn.id, type(task.exception()))


# --- Looking on


async def stop(user: User, *, reply_id: uuid.UUID) -> None:
    """End a reply of `user`'s. Its text so far stays and is charged. Safe to repeat."""
    turn = _running.get(reply_id)
    if turn is None:
        ask = functools.partial(stored_replies.ask_to_stop, user, reply_id=reply_id)
        await in_thread(ask)
    elif turn.user_id == user.id.hex:
        turn.stop()


async def stop_temporary(user: User, *, reply_id: uuid.UUID) -> None:
    """Do the same for a reply that isn't stored: the process that writes it looks each second."""
    if reply_id in _running:
        await stop(user, reply_id=reply_id)
    else:
        await in_thread(cache.set, _stop_of(user.id.hex, reply_id), True, STOP_KEPT_S)


def _stop_of(user_id: str, reply_id: uuid.UUID) -> str:
    """Return the cache key under which this person's wish to stop the reply is kept."""
    return f"chat_stop:{user_id}:{reply_id}"


async def follow(reply: Message) -> AsyncGenerator[Snapshot]:
    """Yield the reply as it grows, until it is over or deleted."""
    turn = _running.get(reply.id)
    async with contextlib.aclosing(_watch(reply.id) if turn is None else _listen(turn)) as found:
        async for snapshot in found:
            yield snapshot


async def _listen(turn: Turn) -> AsyncGenerator[Snapshot]:
    """Follow a turn in this process."""
    while True:
        news, was_over, snapshot = turn.news, turn.task.done(), turn.snapshot()
        yield snapshot
        if snapshot.is_over or was_over:
            return
        await asyncio.sleep(SNAPSHOT_INTERVAL_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.KEEP_ALIVE_INTERVAL_S):
                await news.wait()


async def _watch(reply_id: uuid.UUID) -> AsyncGenerator[Snapshot]:
    """Follow a turn in another process by reading what it stores."""
    last, said_at, now = None, 0.0, asyncio.get_running_loop().time
    async with contextlib.aclosing(watching.looks(reply_id)) as looks:
        async for snapshot in looks:
            if snapshot != last or now() - said_at >= settings.KEEP_ALIVE_INTERVAL_S:
                yield snapshot
                last, said_at = snapshot, now()
            if snapshot.is_over:
                return


# --- What is stored nowhere


async def temporary(
    user: User,
    *,
    said: Sequence[Said],
    model: str,
    system_prompt: str = "",
    parameters: dict | None = None,
) -> AsyncGenerator[Snapshot]:
    """Yield the snapshots of a reply to these messages, storing neither it nor them.

    The last message is the person's. Closing the generator stops the reply. `stop_temporary` with
    the id of the snapshots stops it too, and then the last snapshot says the cost.
    Raises NotAllowed, NoVision, or Unavailable without a database.
    """
    if any(one.images for one in said) and model in await _blind():
        raise NoVision(f"{model} sees no images. Choose a model that does.")
    asked = functools.partial(
        _unstored, user, said, model=model, system_prompt=system_prompt, parameters=parameters
    )
    caller, body = await in_thread(asked)
    reply_id = uuid7()

    async def ends_as(_: Snapshot) -> Message.State | None:
        is_stopped = await in_thread(cache.get, _stop_of(caller.user_id, reply_id))
        return Message.State.STOPPED if is_stopped else None

    turn = TemporaryTurn(reply_id, caller, body, request_id=uuid7(), store=ends_as)
    return _snapshots(turn)


def _unstored(
    user: User, said: Sequence[Said], *, system_prompt: str, **fields: Any
) -> tuple[Caller, dict]:
    """Return the caller and the body, checked like a stored chat. Raises NotAllowed."""
    draft = conversations.draft(user, system_prompt=system_prompt, **fields)
    if not said or said[-1].role != Message.Role.USER:
        raise NotAllowed("Write something first.")
    for one in said:
        messages.check_said(one.role, one.text, one.images)
    body = prompt.body_of(
        model=draft.model,
        system_prompt=system_prompt.strip(),
        said=[Said(one.role, one.text, messages.plain(one.images)) for one in said],
        parameters=draft.parameters,
    )
    return signed_in(user), body


async def _snapshots(turn: TemporaryTurn) -> AsyncGenerator[Snapshot]:
    """Yield snapshots. One counts as taken once the next is asked for."""
    _run(turn)
    try:
        async for snapshot in _listen(turn):
            yield snapshot
            turn.take(snapshot)
    finally:
        turn.leave()


# --- The end of the process


def are_being_written() -> bool:
    """True while this process writes or begins a reply, even if nobody follows it."""
    return bool(_running or _beginning)


async def close() -> None:
    """Interrupt all replies, also those that begin meanwhile, and store how they ended."""
    while are_being_written():
        for turn in list(_running.values()):
            turn.interrupt()
        tasks = [turn.task for turn in _running.values()]
        await asyncio.wait([*tasks, *_beginning], return_when=asyncio.FIRST_COMPLETED)
