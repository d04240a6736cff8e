"""Conversations as files: out as JSON or Markdown, in again from either.

What goes out is read a few messages at a time, so that it takes no more memory the more it is.
What comes in is somebody's file: it is bounded, checked like what a person writes, and taken whole
or not at all. It is told as a conversation that costs nothing, whatever it says of itself.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

import orjson
from django.db import transaction

from accounts.encryption import Cipher
from accounts.ids import uuid7
from accounts.keyring import data_keys
from accounts.models import User
from billing.pricing import usd
from chat import conversations, json_file, length, markdown_file, messages
from chat.errors import ImportRefused, NotAllowed
from chat.models import Conversation, Message
from chat.portable import (
    MAX_FILE_BYTES,
    Outgoing,
    Portable,
    PortableMessage,
    check_counts,
)

# --- Out


MOST_ROWS = 200  # that are read at once
MOST_BYTES = 4_000_000  # that they hold; more only if a single one does
PART_BYTES = 64_000  # of a file, at least


def json_parts(user: User, *, ids: Sequence[uuid.UUID] | None = None) -> Iterator[bytes]:
    """These conversations of `user`, or all, with every branch."""
    return _joined(json_file.write(_taken_out(user, ids, lambda tree, leaf: tree.in_order())))


def markdown_parts(user: User, *, ids: Sequence[uuid.UUID] | None = None) -> Iterator[bytes]:
    """These conversations of `user`, or all, each by the branch that it shows."""
    return _joined(markdown_file.write(_taken_out(user, ids, messages.Tree.path_to)))


def _joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for part in parts:
        waiting += part
        if len(waiting) >= PART_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _taken_out(
    user: User,
    ids: Sequence[uuid.UUID] | None,
    chosen: Callable[[messages.Tree, uuid.UUID | None], list[uuid.UUID]],
) -> Iterator[Outgoing]:
    """With those messages that are `chosen` of the tree and its leaf."""
    cipher = data_keys.cipher_of(user.id)
    rows = Conversation.objects.of(user)
    rows = rows if ids is None else rows.filter(id__in=ids)
    for conversation_id in list(rows.values_list("id", flat=True)):
        conversation = Conversation.objects.filter(pk=conversation_id).first()
        if conversation is not None:  # Else it was deleted meanwhile.
            one = _portable(conversation, cipher)
            wanted = chosen(messages.Tree(conversation), conversation.leaf_id)
            yield one, _messages_of(conversation, one, wanted, cipher)


def _portable(conversation: Conversation, cipher: Cipher) -> Portable:
    return Portable(
        title=conversation.opened(cipher, "title"),
        model=conversation.model,
        system_prompt=conversation.opened(cipher, "system_prompt"),
        parameters=conversation.parameters,
        is_pinned=conversation.pinned_at is not None,
        is_archived=conversation.archived_at is not None,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
    )


def _messages_of(
    conversation: Conversation, one: Portable, wanted: Sequence[uuid.UUID], cipher: Cipher
) -> Iterator[PortableMessage]:
    """Those that are `wanted` and not deleted meanwhile; then `one` knows its leaf."""
    places: dict[uuid.UUID | None, int] = {}
    for batch in _batches(conversation, wanted):
        rows = conversation.messages.in_bulk(batch)
        for row in (rows[one_id] for one_id in batch if one_id in rows):
            yield _portable_message(row, places.get(row.parent_id), cipher)
            places[row.id] = len(places)
    one.leaf = places.get(conversation.leaf_id)


def _batches(conversation: Conversation, wanted: Sequence[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
    sizes = dict(conversation.messages.values_list("id", length.ALL_BYTES))
    batch: list[uuid.UUID] = []
    held = 0
    for one in wanted:
        held += sizes.get(one, 0)
        if batch and (len(batch) == MOST_ROWS or held > MOST_BYTES):
            yield batch
            batch, held = [], sizes.get(one, 0)
        batch.append(one)
    if batch:
        yield batch


def _portable_message(row: Message, parent: int | None, cipher: Cipher) -> PortableMessage:
    shown = messages.opened(row, cipher)
    return PortableMessage(
        role=row.role,
        text=shown.text,
        parent=parent,
        reasoning=shown.reasoning,
        images=shown.images,
        model=row.model,
        created_at=row.created_at,
        details=_details(row) if row.is_reply else {},
    )


def _details(reply: Message) -> dict:
    return {
        "state": reply.state,
        "provider": reply.provider,
        "usage": {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
        },
        "cost_usd": None if reply.cost_nano is None else usd(reply.cost_nano),
    }


# --- In


def import_file(user: User, *, content: bytes, model: str) -> list[Conversation]:
    """The conversations in a file of either kind, all of them or none. Raises ImportRefused.

    `model` is for those that name none.
    """
    if len(content) > MAX_FILE_BYTES:
        raise ImportRefused(f"This file is larger than {MAX_FILE_BYTES:,} bytes.")
    is_json = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    found = json_file.read(content) if is_json else markdown_file.read(content)
    check_counts(found)
    cipher = data_keys.cipher_of(user.id)
    with transaction.atomic():
        return [_put_in(user, one, model, cipher) for one in found]


def _put_in(user: User, one: Portable, model: str, cipher: Cipher) -> Conversation:
    try:
        conversation = conversations.start(
            user,
            model=_name_of(one.model) or model,
            system_prompt=one.system_prompt,
            parameters=one.parameters,
        )
        for said in one.messages:
            if said.role == Message.Role.USER:
                messages.check(said.text, said.images)
            elif len(said.text) > messages.MAX_TEXT or said.images:
                raise NotAllowed("A reply is too long, or has images.")
    except NotAllowed as refusal:
        raise ImportRefused(str(refusal)) from refusal
    rows = _rows(conversation, one.messages, cipher)
    Message.objects.bulk_create(rows, batch_size=500)
    _finish(conversation, one, rows, cipher)
    return conversation


def _rows(conversation: Conversation, said: list[PortableMessage], cipher: Cipher) -> list[Message]:
    ids = sorted(uuid7() for _ in said)  # Of one millisecond, they are in no order.
    rows = []
    for new_id, one in zip(ids, said, strict=True):
        row = Message(
            id=new_id,
            conversation=conversation,
            parent_id=None if one.parent is None else ids[one.parent],
            role=one.role,
            model=_name_of(one.model) if one.role == Message.Role.ASSISTANT else "",
            created_at=one.created_at,
            updated_at=one.created_at,
        )
        images = orjson.dumps(one.images).decode() if one.images else ""
        row.seal(cipher, text=one.text, reasoning=one.reasoning, images=images)
        rows.append(row)
    return rows


def _name_of(model: str) -> str:
    """The slug of a model, if it could be one."""
    slug = model.strip()
    return slug if len(slug) <= conversations.MAX_SLUG and slug.isprintable() else ""


def _finish(conversation: Conversation, one: Portable, rows: list[Message], cipher: Cipher) -> None:
    first = one.messages[0].text if one.messages else ""
    title = " ".join(one.title.split())[: conversations.MAX_TITLE]
    conversation.seal(cipher, title=title or conversations.title_from(first) or "Imported")
    conversation.leaf = rows[one.leaf] if one.leaf is not None else None
    conversation.pinned_at = one.updated_at if one.is_pinned else None
    conversation.archived_at = one.updated_at if one.is_archived else None
    conversation.created_at, conversation.updated_at = one.created_at, one.updated_at
    conversation.save()
