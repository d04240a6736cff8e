"""A chat turn: a reply written by a task of its own in the web process, whoever looks on.

To be awaited on the event loop of the web process: `send`, `edit`, `regenerate` store what the
person said and begin the reply; `stop` ends it; `follow` shows it as it grows, from any process.

    reply = await replies.send(conversation, text=…)          # a Message, state "streaming"
    async for snapshot in replies.follow(reply): …            # until snapshot.is_over
    await replies.stop(reply)

A snapshot holds the whole text so far, not the last piece of it. `follow` yields one at once, then
when there is more (at most ten a second), and the last again in silence, so that a connection
whose browser is gone is noticed. After Stop the text is final at once, `cost_nano` is None until
the bill is settled. The views answer as server-sent events, one snapshot each.
"""

import dataclasses
import uuid
from collections.abc import AsyncGenerator, Sequence

from accounts.models import User
from chat.models import Conversation, Message


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """A reply as it stands. `error` is a code, as insufficient_credits, `error_text` a sentence."""

    id: uuid.UUID
    state: str
    text: str
    reasoning: str
    model: str
    provider: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost_nano: int | None
    error: str
    error_text: str

    @property
    def is_over(self) -> bool:
        return self.state != Message.State.STREAMING and self.cost_nano is not None


async def send(conversation: Conversation, *, text: str, images: Sequence[str] = ()) -> Message:
    """Raises NotAllowed, StillAnswering; then nothing is stored."""
    raise NotImplementedError


async def edit(message: Message, *, text: str, images: Sequence[str] = ()) -> Message:
    """Say something else in the place of `message`. Raises NotAllowed, StillAnswering."""
    raise NotImplementedError


async def regenerate(reply: Message) -> Message:
    """Another reply in the place of `reply`. Raises NotAllowed, StillAnswering."""
    raise NotImplementedError


async def stop(reply_id: uuid.UUID) -> None:
    """End a reply: what has come of it stays, and is charged. Safe to repeat."""
    raise NotImplementedError


async def follow(reply: Message) -> AsyncGenerator[Snapshot]:
    """The reply as it grows, until it is over."""
    raise NotImplementedError
    yield


async def temporary(
    user: User,
    *,
    messages: list[dict],
    model: str,
    system_prompt: str = "",
    parameters: dict | None = None,
) -> AsyncGenerator[Snapshot]:
    """A reply that is stored nowhere, to messages that are stored nowhere.

    `messages` are {"role", "text", "images"}, the last by the person. Closing it stops the reply;
    so does `stop` with the id of its snapshots. Raises NotAllowed.
    """
    raise NotImplementedError
    yield
