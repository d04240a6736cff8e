"""Replies in the database: how they are stored while they are written, and how they end.

    streaming → finished | stopped | interrupted | failed
    interrupted → finished    once the request log shows that its whole answer was charged

The text of a reply that has ended stays. Its counts and cost are null until the bill is settled,
and are written once. The turn that writes a reply stores it each second, and all of it before it is
charged. So a reply that hasn't been stored for a while belongs to a dead process, and one whose
request has finished is whole, even if its process died right then.
"""

import dataclasses
import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from accounts.encryption import Cipher
from accounts.keyring import data_keys
from accounts.models import User
from billing.models import Hold
from chat.models import Message
from gateway.models import ApiRequest

State = Message.State


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """A reply at one moment. `error` is a code (insufficient_credits), `error_text` a sentence."""

    id: uuid.UUID
    state: str
    text: str = ""
    reasoning: str = ""
    model: str = ""
    provider: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost_nano: int | None = None
    error: str = ""
    error_text: str = ""

    @property
    def is_over(self) -> bool:
        """True when followers can stop waiting.

        An interrupted reply is over even if its cost isn't known yet: that may take much longer.
        """
        if self.state == State.INTERRUPTED:
            return True
        return self.state != State.STREAMING and self.cost_nano is not None


_PLAIN = ("model", "provider", "prompt_tokens", "completion_tokens", "estimated", "error")
_SEALED = ("text", "reasoning", "error_text")
# The columns that change with each stored state of a reply.
Version = tuple[dt.datetime, str, int | None]
_VERSION = ("updated_at", "state", "cost_nano")


def store(snapshot: Snapshot, cipher: Cipher) -> State | None:
    """Store a reply. Returns the state in which its turn must end now, if it must."""
    row = Message(id=snapshot.id)
    values = {name: row.sealed(cipher, name, getattr(snapshot, name)) for name in _SEALED}
    values |= {name: getattr(snapshot, name) for name in (*_PLAIN, "state", "cost_nano")}
    unsettled = Message.objects.filter(pk=snapshot.id, cost_nano=None)
    open_rows = unsettled.filter(state__in={State.STREAMING, snapshot.state})
    if not open_rows.update(**values, updated_at=timezone.now()):
        # The person deleted it and wants no more of it, or this turn was taken for dead.
        exists = Message.objects.filter(pk=snapshot.id).exists()
        return State.INTERRUPTED if exists else State.STOPPED
    return State.STOPPED if open_rows.exclude(stop_requested_at=None).exists() else None


def read_changed(
    known: Mapping[uuid.UUID, Version | None],
) -> dict[uuid.UUID, tuple[Version, Snapshot] | None]:
    """Return the replies that changed since the versions in `known`. A deleted one maps to None."""
    rows = Message.objects.filter(pk__in=list(known))
    end_silent(rows)
    stored = {one: version for one, *version in rows.values_list("id", *_VERSION)}
    changed = [one for one, version in stored.items() if tuple(version) != known[one]]
    found: dict[uuid.UUID, tuple[Version, Snapshot] | None]
    found = {one: None for one in known if one not in stored}
    for row in Message.objects.select_related("conversation").filter(pk__in=changed):
        found[row.id] = (row.updated_at, row.state, row.cost_nano), _opened(row)
    return found


def _opened(row: Message) -> Snapshot:
    cipher = data_keys.cipher_of(row.conversation.user_id)
    values: dict[str, Any] = {name: row.opened(cipher, name) for name in _SEALED}
    values |= {name: getattr(row, name) for name in (*_PLAIN, "state", "cost_nano")}
    return Snapshot(id=row.id, **values)


def ask_to_stop(user: User, *, reply_id: uuid.UUID) -> None:
    """Ask the process that writes this reply of `user`'s to stop."""
    rows = Message.objects.of(user).filter(pk=reply_id, state=State.STREAMING)
    rows.filter(stop_requested_at=None).update(stop_requested_at=timezone.now())


def end_silent(rows: QuerySet | None = None, *, now: dt.datetime | None = None) -> int:
    """End the replies of dead processes, and record their cost once it is known.

    Looks at `rows`, or at all replies. Returns how many it changed. Safe to run twice.
    """
    now = now or timezone.now()
    rows = Message.objects.all() if rows is None else rows
    silent = rows.filter(cost_nano=None, updated_at__lt=now - Message.SILENT_FOR)
    return sum(_end(one) for one in silent.only("id", "state", "request_id", "updated_at"))


def _end(reply: Message) -> int:
    assert reply.request_id is not None
    values = _bill(reply.request_id)
    if reply.is_streaming:
        values.setdefault("state", State.INTERRUPTED)
    unchanged = Message.objects.filter(pk=reply.pk, cost_nano=None, updated_at=reply.updated_at)
    return unchanged.update(**values) if values else 0


def _bill(request_id: uuid.UUID) -> dict:
    """Return what the request log says of the end and the cost; nothing yet while it is held.

    The hold is looked for first: it goes in the transaction that writes the request.
    """
    if Hold.objects.filter(pk=request_id).exists():
        return {}
    request = ApiRequest.objects.filter(pk=request_id).first()
    if request is None:
        return {"cost_nano": 0}
    bill = {
        "provider": request.provider,
        "prompt_tokens": request.prompt_tokens,
        "completion_tokens": request.completion_tokens,
        "estimated": request.estimated,
        "cost_nano": request.cost_nano,
    }
    if (state := _STATE_OF.get(request.outcome)) is not None:
        bill["state"] = state
    return bill


# The replies whose text was kept whole, and those of which the person wanted no more.
_STATE_OF = {
    ApiRequest.Outcome.FINISHED.value: State.FINISHED,
    ApiRequest.Outcome.EMPTY.value: State.FINISHED,
    ApiRequest.Outcome.CLIENT_GONE.value: State.STOPPED,
}
