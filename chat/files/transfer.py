"""Exports conversations to JSON or Markdown files, and imports either.

An export is read a few messages at a time, so that its size costs no memory. An import isn't
trusted: it is limited, checked like a person's own messages before any of it is stored, and stored
whole or not at all. Its conversations count as free, whatever the file claims.
"""

import gc
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import orjson
from django.db import DatabaseError

from accounts.encryption import Cipher
from accounts.ids import uuid7
from accounts.keyring import data_keys
from accounts.models import User
from billing.pricing import usd
from chat import batches, conversations, length, messages
from chat.errors import ImportBusy, ImportRefused, NotAllowed
from chat.files import imports, json_file, markdown_file
from chat.files.portable import (
    MAX_FILE_BYTES,
    TOO_LARGE,
    Outgoing,
    Portable,
    PortableMessage,
    check_found,
)
from chat.models import Conversation, Import, Message

T = TypeVar("T")

MOST_ROWS = 200  # that are read or written at once
MOST_BYTES = 4_000_000  # that these rows hold; more only if a single row does
PART_BYTES = 256_000  # of a file, at least: each part opens the database again
COLLECT_AFTER_S = 1.0
_importing = threading.RLock()  # Parsed, a file takes several times its size.


def _batches(sized: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
    return batches.of(sized, most=MOST_ROWS, most_bytes=MOST_BYTES)


# --- Out


def json_parts(user: User, *, ids: Sequence[uuid.UUID] | None = None) -> Iterator[bytes]:
    """Yield these conversations of `user`, or all of them, with every branch."""
    return _joined(json_file.write(_taken_out(user, ids, lambda tree, leaf: tree.in_order())))


def markdown_parts(user: User, *, ids: Sequence[uuid.UUID] | None = None) -> Iterator[bytes]:
    """Yield these conversations of `user`, or all of them, each with the branch that it shows."""
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
    """Yield conversations with the messages that `chosen` picks, given the tree and its leaf."""
    cipher = data_keys.cipher_of(user.id)
    rows = Conversation.objects.of(user)
    rows = rows if ids is None else rows.filter(id__in=ids)
    for conversation_id in list(rows.values_list("id", flat=True)):
        conversation = Conversation.objects.filter(pk=conversation_id).first()
        if conversation is not None:  # It wasn't deleted meanwhile.
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
    """Yield the `wanted` messages that still exist, and then set the leaf of `one`."""
    places: dict[uuid.UUID | None, int] = {}
    sizes = dict(conversation.messages.values_list("id", length.ALL_BYTES))
    for batch in _batches((one_id, sizes.get(one_id, 0)) for one_id in wanted):
        rows = conversation.messages.in_bulk(batch)
        for row in (rows[one_id] for one_id in batch if one_id in rows):
            yield _portable_message(row, places.get(row.parent_id), cipher)
            places[row.id] = len(places)
    one.leaf = places.get(conversation.leaf_id)


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
    """Store all conversations of a file, or none of them. The file may be of either kind.

    `model` is for those that name none. Raises ImportRefused, ImportBusy, ChatsFull.
    """
    if len(content) > MAX_FILE_BYTES:
        raise ImportRefused(TOO_LARGE)
    with importing():
        return _import(user, content, model)


@contextmanager
def importing() -> Iterator[None]:
    """Let one thread of this process import at a time. Raises ImportBusy.

    Enter it before a file is read, so that the refused ones take no memory for that.
    """
    if not _importing.acquire(blocking=False):
        raise ImportBusy(
            "Another file is being imported, and nothing of yours is stored yet. "
            "Send it again in a moment."
        )
    try:
        yield
    finally:
        _importing.release()
        _collect_soon()


def _collect_soon() -> None:
    """Free what is left of the file once its request has ended.

    Cycles hold it, 100 MB at worst, and the web process looks for garbage rarely.
    """
    timer = threading.Timer(COLLECT_AFTER_S, gc.collect)
    timer.daemon = True
    timer.start()


def _import(user: User, content: bytes, model: str) -> list[Conversation]:
    is_json = content[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    found = json_file.read(content) if is_json else markdown_file.read(content)
    check_found(found)
    cipher = data_keys.cipher_of(user.id)
    drafts = [_draft(user, one, model, cipher) for one in found]
    rows = len(found) + sum(len(one.messages) for one in found)
    whole = imports.begin(user, rows=rows, size=len(content))
    try:
        _write(drafts, found, whole, cipher)
        imports.finish(whole)
    except DatabaseError as error:
        imports.take_back(whole)
        raise ImportRefused("Kyma could store nothing of this file. Try again later.") from error
    return drafts


def _draft(user: User, one: Portable, model: str, cipher: Cipher) -> Conversation:
    """Return the conversation without its messages, after checking both."""
    try:
        draft = conversations.draft(
            user,
            model=_name_of(one.model) or model,
            system_prompt=one.system_prompt,
            parameters=one.parameters,
        )
        for said in one.messages:
            messages.check_said(said.role, said.text, said.images)
    except NotAllowed as refusal:
        raise ImportRefused(str(refusal)) from refusal
    first = one.messages[0].text if one.messages else ""
    title = " ".join(one.title.split())[: conversations.MAX_TITLE]
    draft.seal(cipher, title=title or conversations.title_from(first) or "Imported")
    draft.pinned_at = one.updated_at if one.is_pinned else None
    draft.archived_at = one.updated_at if one.is_archived else None
    draft.created_at, draft.updated_at = one.created_at, one.updated_at
    return draft


def _name_of(model: str) -> str:
    """Return `model` if it could be a slug, or else nothing."""
    slug = model.strip()
    return slug if len(slug) <= conversations.MAX_SLUG and slug.isprintable() else ""


def _write(
    drafts: list[Conversation], found: list[Portable], whole: Import, cipher: Cipher
) -> None:
    """Store a few rows in each transaction, so that nobody waits long; the leaves come last."""
    for draft in drafts:
        draft.part_of = whole
    for batch in _batches((one, len(one.system_prompt or b"")) for one in drafts):
        Conversation.objects.bulk_create(batch)
    for rows in _batches(_rows(drafts, found, cipher)):
        Message.objects.bulk_create(rows)
    Conversation.objects.bulk_update(drafts, ["leaf"], batch_size=MOST_ROWS)


def _rows(
    drafts: list[Conversation], found: list[Portable], cipher: Cipher
) -> Iterator[tuple[Message, int]]:
    """Yield the messages with their sizes. After the messages of a draft, its leaf is set."""
    for draft, one in zip(drafts, found, strict=True):
        ids = sorted(uuid7() for _ in one.messages)  # Ids of one millisecond are in no order.
        for new_id, said in zip(ids, one.messages, strict=True):
            parent_id = None if said.parent is None else ids[said.parent]
            row = Message(id=new_id, conversation=draft, parent_id=parent_id)
            _fill(row, said, cipher)
            yield row, sum(len(sealed or b"") for sealed in (row.text, row.reasoning, row.images))
        draft.leaf_id = None if one.leaf is None else ids[one.leaf]


def _fill(row: Message, said: PortableMessage, cipher: Cipher) -> None:
    row.role = said.role
    row.model = _name_of(said.model) if row.is_reply else ""
    row.created_at = row.updated_at = said.created_at
    images = messages.plain(said.images)
    shown = orjson.dumps(images).decode() if images else ""
    row.seal(cipher, text=said.text, reasoning=said.reasoning, images=shown)
