"""The actions on one conversation as a whole."""

import contextlib
import dataclasses
import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from accounts.keyring import data_keys
from accounts.models import User
from chat import quota
from chat.errors import Deleted, NotAllowed
from chat.models import Conversation
from gateway.dialects.chat.fields import FORWARDED, READ
from gateway.log import content
from gateway.wire.checks import Mismatch

MAX_TITLE = 200  # characters
TITLE_LENGTH = 60  # of a title that is made from the first message
MAX_SYSTEM_PROMPT = 100_000
MAX_SLUG = 96
PARAMETERS = {
    "temperature": FORWARDED["temperature"],
    "top_p": FORWARDED["top_p"],
    "max_tokens": READ["max_tokens"],
}


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """A conversation as an entry of a list."""

    id: uuid.UUID
    title: str
    model: str
    is_pinned: bool
    is_archived: bool
    updated_at: dt.datetime


def start(
    user: User,
    *,
    model: str,
    title: str = "",
    system_prompt: str = "",
    parameters: dict | None = None,
) -> Conversation:
    """Store a new conversation without messages. Without a title, the first message gives it one.

    Raises NotAllowed, ChatsFull.
    """
    conversation = draft(user, model=model, system_prompt=system_prompt, parameters=parameters)
    if title:
        _set_title(conversation, title)
    with transaction.atomic():
        store(conversation)
    return conversation


def store(conversation: Conversation) -> None:
    """Store a draft, inside a transaction. Raises ChatsFull."""
    more_bytes = len(conversation.system_prompt or b"")
    quota.check(conversation.user_id, more_rows=1, more_bytes=more_bytes)
    conversation.save(force_insert=True)


def draft(
    user: User, *, model: str, system_prompt: str = "", parameters: dict | None = None
) -> Conversation:
    """Return a conversation that isn't stored yet. Raises NotAllowed."""
    conversation = Conversation(user=user)
    choose_model(conversation, model)
    _set_system_prompt(conversation, system_prompt)
    _set_parameters(conversation, parameters or {})
    return conversation


def listed(user: User, *, archived: bool = False, start: int = 0, limit: int = 100) -> list[Listed]:
    """Return `limit` conversations of `user`, starting at the place `start`.

    The pinned ones come first, then the last used.
    """
    cipher = data_keys.cipher_of(user.id)
    rows = Conversation.objects.of(user)
    rows = rows.archived() if archived else rows.current()
    return [
        Listed(
            one.id,
            one.opened(cipher, "title"),
            one.model,
            one.pinned_at is not None,
            one.archived_at is not None,
            one.updated_at,
        )
        for one in rows.defer("system_prompt")[start : start + limit]
    ]


def title_from(text: str) -> str:
    """Return the title for a conversation that begins with `text`."""
    line = " ".join(text[: 10 * TITLE_LENGTH].split())
    if len(line) <= TITLE_LENGTH:
        return line
    return line[: TITLE_LENGTH - 1].rsplit(" ", 1)[0].rstrip() + "…"


# --- Changing


def change(conversation: Conversation, **changes: Any) -> None:
    """Change all of these or none: title, pinned, archived; model, system_prompt, parameters.

    The last three apply to replies from now on. Raises NotAllowed, Deleted, ChatsFull.
    """
    with locked(conversation):
        before = len(conversation.system_prompt or b"")
        fields = [_CHANGES[name](conversation, value) for name, value in changes.items()]
        more = len(conversation.system_prompt or b"") - before
        if more > 0:
            quota.check(conversation.user_id, more_bytes=more)
        conversation.save(update_fields=fields)


@contextlib.contextmanager
def locked(conversation: Conversation) -> Iterator[None]:
    """Open a transaction, lock the conversation and read its present state.

    Raises Deleted.
    """
    with transaction.atomic():
        rows = Conversation.objects.select_for_update()
        try:
            conversation.refresh_from_db(from_queryset=rows)
        except Conversation.DoesNotExist:
            raise Deleted("This conversation was deleted.") from None
        yield


def _set_title(conversation: Conversation, title: str) -> str:
    title = " ".join(title.split())
    if not 0 < len(title) <= MAX_TITLE:
        raise NotAllowed(f"A title has 1 to {MAX_TITLE} characters.")
    conversation.seal(data_keys.cipher_of(conversation.user_id), title=title)
    return "title"


def _pin(conversation: Conversation, pinned: bool) -> str:
    conversation.pinned_at = timezone.now() if pinned else None
    return "pinned_at"


def _archive(conversation: Conversation, archived: bool) -> str:
    conversation.archived_at = timezone.now() if archived else None
    return "archived_at"


def choose_model(conversation: Conversation, model: str) -> str:
    """Set the model without saving. The gateway later checks that it exists.

    Raises NotAllowed.
    """
    if not (0 < len(model) <= MAX_SLUG and model.isprintable()):
        raise NotAllowed("Choose a model.")
    conversation.model = model
    return "model"


def _set_system_prompt(conversation: Conversation, text: str) -> str:
    if len(text) > MAX_SYSTEM_PROMPT:
        raise NotAllowed(f"A system prompt has at most {MAX_SYSTEM_PROMPT:,} characters.")
    cipher = data_keys.cipher_of(conversation.user_id)
    conversation.seal(cipher, system_prompt=text.strip())
    return "system_prompt"


def _set_parameters(conversation: Conversation, parameters: dict) -> str:
    conversation.parameters = checked(parameters)
    return "parameters"


# The functions that change a field: each sets the value on the row and returns the field's name.
_CHANGES: dict[str, Callable[[Conversation, Any], str]] = {
    "title": _set_title,
    "pinned": _pin,
    "archived": _archive,
    "model": choose_model,
    "system_prompt": _set_system_prompt,
    "parameters": _set_parameters,
}


def checked(parameters: dict) -> dict:
    """Return the parameters that are set. Raises NotAllowed."""
    found = {}
    for name, value in parameters.items():
        if value is None:
            continue
        if name not in PARAMETERS:
            raise NotAllowed(f"There is no parameter {name[:32]}.")
        try:
            PARAMETERS[name](value)
        except Mismatch as mismatch:
            raise NotAllowed(f"{name} {mismatch.problem}.") from None
        found[name] = value
    return found


# --- Deleting


class Deletion(NamedTuple):
    """The number of conversations that were deleted. `is_complete` says that no file holds them.

    Otherwise sealed remains stay in SQLite's write-ahead log until a later purge removes them.
    """

    count: int
    is_complete: bool


def delete(user: User, *, ids: Iterable[uuid.UUID]) -> Deletion:
    """Delete the conversations among `ids` that are `user`'s, with everything in them (P3).

    One transaction is enough, because chat leaves no content in the request log. A reply that is
    being written notices within a second.
    """
    with transaction.atomic():
        own = Conversation.objects.filter(user=user, id__in=list(ids)).select_for_update()
        found = list(own.values_list("id", flat=True))
        Conversation.objects.filter(id__in=found).delete()  # Deletes its messages first.
    return Deletion(len(found), not found or content.leave_no_trace(connection))
