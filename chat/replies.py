"""A chat turn: a reply written by a task of its own in the web process, whoever looks on.

To be awaited on the event loop of the web process: `start`, `send`, `edit`, `regenerate` store
what the person said and begin the reply; `follow` shows it as it grows, from any process; only
`stop` ends it before its time.

    reply = await replies.send(conversation, text=…)          # a Message, state "streaming"
    async for snapshot in replies.follow(reply): …            # until snapshot.is_over
    await replies.stop(user, reply_id=reply.id)

A snapshot holds the whole text so far, not the last piece of it. `follow` yields one at once, then
when there is more (at most ten a second), and the last again in silence, so that a connection
whose browser is gone is noticed. After Stop the text is final at once, `cost_nano` is None until
the bill is settled. The views answer as server-sent events, one snapshot each.

A refusal (no credit, a rate limit, no provider) is a reply that failed, with a code: what the
person said is stored, and `regenerate` tries again in the place of the empty reply.
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
from chat.turns import Turn
from gateway.access.authentication import Caller, signed_in
from gateway.database import in_thread
from gateway.routing import resolution

logger = logging.getLogger(__name__)

SNAPSHOT_INTERVAL_S = 0.1  # at least, between two of one follower
STOP_KEPT_S = 60  # that of a temporary reply, for a process that is slow to look

_running: dict[uuid.UUID, Turn] = {}
_beginning: set[asyncio.Task] = set()


async def start(user: User, *, model: str, text: str, images: Sequence[str] = ()) -> Message:
    """Begin a conversation with what is said first.

    Raises NotAllowed, NoVision, ChatsFull, or Unavailable without a database; then nothing is
    stored.
    """
    begun = functools.partial(messages.start, user, model=model, text=text, images=images)
    return await _begin(begun)


async def send(
    conversation: Conversation, *, text: str, images: Sequence[str] = (), model: str = ""
) -> Message:
    """`model` is kept for what is said later; unnamed, it is the conversation's.

    Raises as `start` does, and StillAnswering; then nothing is stored, of the model neither.
    """
    said = {"text": text, "images": images, "model": model}
    return await _begin(functools.partial(messages.say, conversation, **said))


async def edit(
    message: Message, *, text: str, images: Sequence[str] = (), model: str = ""
) -> Message:
    """Say something else in the place of `message`; `model` and refusals as of `send`."""
    said = {"text": text, "images": images, "model": model}
    return await _begin(functools.partial(messages.edit, message, **said))


async def regenerate(reply: Message, *, model: str = "") -> Message:
    """Another reply in the place of `reply`; `model` and refusals as of `send`."""
    return await _begin(functools.partial(messages.regenerate, reply, model=model))


async def _begin(add: Callable[..., Message]) -> Message:
    """Once stored, a reply is written, though whoever asked for it hangs up that moment."""
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
    """The models that see no images."""
    models = await resolution.catalogue()
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
    """End a reply of `user`'s: what has come of it stays, and is charged. Safe to repeat."""
    turn = _running.get(reply_id)
    if turn is None:
        ask = functools.partial(stored_replies.ask_to_stop, user, reply_id=reply_id)
        await in_thread(ask)
    elif turn.user_id == user.id.hex:
        turn.stop()


async def stop_temporary(user: User, *, reply_id: uuid.UUID) -> None:
    """The same of one that is stored nowhere: whichever process writes it looks each second."""
    if reply_id in _running:
        await stop(user, reply_id=reply_id)
    else:
        await in_thread(cache.set, _stop_of(user.id.hex, reply_id), True, STOP_KEPT_S)


def _stop_of(user_id: str, reply_id: uuid.UUID) -> str:
    """What it is called in the cache that this person has asked for it."""
    return f"chat_stop:{user_id}:{reply_id}"


async def follow(reply: Message) -> AsyncGenerator[Snapshot]:
    """The reply as it grows, until it is over or deleted."""
    turn = _running.get(reply.id)
    async with contextlib.aclosing(_watch(reply.id) if turn is None else _listen(turn)) as found:
        async for snapshot in found:
            yield snapshot


async def _listen(turn: Turn) -> AsyncGenerator[Snapshot]:
    """Of a turn in this process."""
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
    """Of a turn in another process, by what it stores."""
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
    """The snapshots of a reply that is stored nowhere, to messages that are stored nowhere.

    The last of them is the person's. To close the generator stops the reply; so does
    `stop_temporary` with the id of the snapshots, and then the last of them says what it cost.
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

    return _snapshots(Turn(reply_id, caller, body, request_id=uuid7(), store=ends_as))


def _unstored(
    user: User, said: Sequence[Said], *, system_prompt: str, **fields: Any
) -> tuple[Caller, dict]:
    """Who asks, and what; checked like what is stored. Raises NotAllowed."""
    draft = conversations.draft(user, system_prompt=system_prompt, **fields)
    if not said or said[-1].role != Message.Role.USER:
        raise NotAllowed("Write something first.")
    for one in said:
        messages.check_told(one.role, one.text, one.images)
    body = prompt.body_of(
        model=draft.model,
        system_prompt=system_prompt.strip(),
        said=[Said(one.role, one.text, messages.plain(one.images)) for one in said],
        parameters=draft.parameters,
    )
    return signed_in(user), body


async def _snapshots(turn: Turn) -> AsyncGenerator[Snapshot]:
    _run(turn)
    try:
        async for snapshot in _listen(turn):
            yield snapshot
    finally:
        turn.stop()


# --- The end of the process


def are_being_written() -> bool:
    """Whether this process still has something to say, though nobody may be looking on."""
    return bool(_running or _beginning)


async def close() -> None:
    """Break off what is still being written, and what begins meanwhile; store how it ended."""
    while are_being_written():
        for turn in list(_running.values()):
            turn.interrupt()
        tasks = [turn.task for turn in _running.values()]
        await asyncio.wait([*tasks, *_beginning], return_when=asyncio.FIRST_COMPLETED)
