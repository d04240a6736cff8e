"""The tree of messages in a conversation, and the ways to add to it.

A branch is the path from a root to a leaf. An edited message is a new sibling of the old one and
begins another branch. So is a regenerated reply.
"""

import base64
import contextlib
import dataclasses
import re
import uuid
from collections.abc import Container, Iterator, Sequence

import orjson
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.encryption import Cipher
from accounts.ids import uuid7
from accounts.keyring import data_keys
from accounts.models import User
from chat import conversations, length, pictures, quota, stored_replies
from chat.errors import NotAllowed, NoVision, StillAnswering
from chat.models import Conversation, Message

PAGE = 60  # messages of a branch that a page shows at once
MAX_TEXT = 1_000_000  # characters; models accept less
MAX_IMAGES = 4
MAX_IMAGE_BYTES = 1_500_000
LONGEST_IMAGE = MAX_IMAGE_BYTES * 4 // 3 + 100  # characters of its URL
_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,")


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A message of the branch, opened. `siblings` are the ids with the same parent, in order."""

    message: Message
    text: str
    reasoning: str
    images: list[str]
    error_text: str
    siblings: tuple[uuid.UUID, ...]

    @property
    def position(self) -> int:
        """The place among the siblings, from 1."""
        return self.siblings.index(self.message.id) + 1


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A page of the branch. `earlier` and `later` are messages on the pages next to it, if any."""

    shown: list[Shown]
    earlier: uuid.UUID | None
    later: uuid.UUID | None


# --- Reading


def path_to(
    conversation: Conversation, *, leaf_id: uuid.UUID | None, cipher: Cipher
) -> list[Shown]:
    """Return the messages from the root to `leaf_id`."""
    tree = Tree(conversation)
    return _opened_all(conversation, tree, tree.path_to(leaf_id), cipher)


def page_of(conversation: Conversation, *, at: uuid.UUID | None = None) -> Page:
    """Return the page of the branch that holds the message `at`, or the last page."""
    tree = Tree(conversation)
    path = tree.path_to(conversation.leaf_id)
    later_ones = len(path) - 1 - path.index(at) if at in path else 0
    end = len(path) - later_ones // PAGE * PAGE
    start = max(end - PAGE, 0)
    cipher = data_keys.cipher_of(conversation.user_id)
    return Page(
        _opened_all(conversation, tree, path[start:end], cipher),
        earlier=path[start - 1] if start else None,
        later=path[end] if end < len(path) else None,
    )


def alone(message: Message) -> Shown:
    """Return one message with its place among its siblings."""
    cipher = data_keys.cipher_of(message.conversation.user_id)
    return opened(message, cipher, Tree(message.conversation).siblings(message.id))


def _opened_all(
    conversation: Conversation, tree: "Tree", path: Sequence[uuid.UUID], cipher: Cipher
) -> list[Shown]:
    rows = conversation.messages.in_bulk(path)
    return [opened(rows[one], cipher, tree.siblings(one)) for one in path if one in rows]


def opened(message: Message, cipher: Cipher, siblings: Sequence[uuid.UUID] = ()) -> Shown:
    return Shown(
        message,
        message.opened(cipher, "text"),
        message.opened(cipher, "reasoning"),
        orjson.loads(message.opened(cipher, "images") or "[]"),
        message.opened(cipher, "error_text"),
        tuple(siblings) or (message.id,),
    )


def switch_to(message: Message) -> None:
    """Show the branch with `message`, down to its latest leaf. Raises Deleted.

    Nothing changes if the message itself was replaced meanwhile and is on no branch any more.
    """
    conversation = message.conversation
    with conversations.locked(conversation):
        tree = Tree(conversation)
        if message.id in tree:
            conversation.leaf_id = tree.last_below(message.id)
            conversation.save(update_fields=["leaf"])


class Tree:
    """The parents and replies of all messages in a conversation, by their ids alone."""

    def __init__(self, conversation: Conversation):
        rows = conversation.messages.order_by("id").values_list("id", "parent_id")
        self._parents: dict[uuid.UUID, uuid.UUID | None] = dict(rows)
        self._replies: dict[uuid.UUID | None, list[uuid.UUID]] = {}
        for one, parent in self._parents.items():
            self._replies.setdefault(parent, []).append(one)

    def __contains__(self, one: uuid.UUID) -> bool:
        return one in self._parents

    def path_to(self, leaf: uuid.UUID | None) -> list[uuid.UUID]:
        path = []
        while leaf is not None:
            path.append(leaf)
            leaf = self._parents.get(leaf)
        return path[::-1]

    def siblings(self, one: uuid.UUID) -> list[uuid.UUID]:
        """Return the ids with the same parent. A message that was deleted meanwhile is alone."""
        return self._replies[self._parents[one]] if one in self else [one]

    def in_order(self) -> list[uuid.UUID]:
        """Return all ids, each after its parent and after its older siblings.

        Sorting the ids isn't enough: ids of the same moment are in no order.
        """
        found, waiting = [], self._replies.get(None, [])[::-1]
        while waiting:
            one = waiting.pop()
            found.append(one)
            waiting += self._replies.get(one, [])[::-1]
        return found

    def last_below(self, one: uuid.UUID) -> uuid.UUID:
        while replies := self._replies.get(one):
            one = replies[-1]
        return one


# --- Adding


# Each of these functions returns a reply that is still to be written, by `model`. The model is
# kept for later replies; without one, the last choice stays. `blind` are the models that see no
# images.


def start(
    user: User, *, model: str, text: str, images: Sequence[str] = (), blind: Container[str] = ()
) -> Message:
    """Begin a conversation with its first message.

    Raises NotAllowed, NoVision, ChatsFull.
    """
    conversation = conversations.draft(user, model=model)
    said = _said(conversation, text, images)
    with transaction.atomic():
        conversations.store(conversation)
        return _add(said, text, after=None, blind=blind)


def say(
    conversation: Conversation,
    *,
    text: str,
    images: Sequence[str] = (),
    model: str = "",
    blind: Container[str] = (),
) -> Message:
    """Add a message of the person's after the leaf.

    Raises NotAllowed, NoVision, ChatsFull, StillAnswering.
    """
    said = _said(conversation, text, images)
    with _one_at_a_time(conversation, model):
        return _add(said, text, after=conversation.leaf_id, blind=blind)


def edit(
    message: Message,
    *,
    text: str,
    images: Sequence[str] = (),
    model: str = "",
    blind: Container[str] = (),
) -> Message:
    """Add another version of `message` beside it.

    Raises NotAllowed, NoVision, ChatsFull, StillAnswering.
    """
    if message.is_reply:
        raise NotAllowed("Only what you said yourself can be edited.")
    said = _said(message.conversation, text, images)
    with _one_at_a_time(message.conversation, model):
        return _add(said, text, after=message.parent_id, blind=blind)


def regenerate(reply: Message, *, model: str = "", blind: Container[str] = ()) -> Message:
    """Add another reply beside `reply`, or in its place if it failed without text.

    Raises NotAllowed, NoVision, ChatsFull, StillAnswering.
    """
    if not reply.is_reply:
        raise NotAllowed("Only a reply can be regenerated.")
    if reply.parent_id is None:
        raise NotAllowed("This reply has no message to answer.")
    conversation = reply.conversation
    with _one_at_a_time(conversation, model):
        _check_vision(conversation, Tree(conversation).path_to(reply.parent_id), blind)
        quota.check(conversation.user_id, more_rows=1)
        new = _reply_to(reply.parent_id, conversation)
        if reply.state == Message.State.FAILED and not reply.text and not reply.replies.exists():
            reply.delete()
    return new


def _said(conversation: Conversation, text: str, images: Sequence[str]) -> Message:
    """Return the person's message, sealed, without a place in the tree yet. Raises NotAllowed."""
    check(text, images)
    images = plain(images)
    said = Message(conversation=conversation, role=Message.Role.USER)
    cipher = data_keys.cipher_of(conversation.user_id)
    said.seal(cipher, text=text, images=orjson.dumps(images).decode() if images else "")
    return said


def _add(said: Message, text: str, *, after: uuid.UUID | None, blind: Container[str]) -> Message:
    """Store `said` and a reply to it, in the transaction that locks the conversation."""
    conversation = said.conversation
    branch = Tree(conversation).path_to(after)
    _check_vision(conversation, branch, blind, has_images=bool(said.images))
    sealed = len(said.text or b"") + len(said.images or b"")
    length.check(conversation, branch, sealed)
    title = conversation.title or _title_from(conversation, text)
    sealed += len(title or b"") - len(conversation.title or b"")
    quota.check(conversation.user_id, more_rows=2, more_bytes=sealed)  # With the reply.
    conversation.title, said.parent_id = title, after
    said.save(force_insert=True)
    return _reply_to(said.id, conversation)


def _title_from(conversation: Conversation, text: str) -> bytes | None:
    title = conversations.title_from(text) or "An image"
    return conversation.sealed(data_keys.cipher_of(conversation.user_id), "title", title)


def _check_vision(
    conversation: Conversation,
    branch: Sequence[uuid.UUID],
    blind: Container[str],
    has_images: bool = False,
) -> None:
    """Raise NoVision if the model can't see the images in the branch or the new message."""
    if conversation.model not in blind:
        return
    if has_images or conversation.messages.filter(id__in=branch, images__isnull=False).exists():
        raise NoVision(f"{conversation.model} sees no images. Choose a model that does.")


def _reply_to(parent: uuid.UUID | None, conversation: Conversation) -> Message:
    reply = Message.objects.create(
        conversation=conversation,
        parent_id=parent,
        role=Message.Role.ASSISTANT,
        state=Message.State.STREAMING,
        model=conversation.model,
        cost_nano=None,
        request_id=uuid7(),
    )
    conversation.leaf, conversation.updated_at = reply, timezone.now()
    conversation.save(update_fields=["leaf", "title", "model", "updated_at"])
    return reply


@contextlib.contextmanager
def _one_at_a_time(conversation: Conversation, model: str) -> Iterator[None]:
    """Lock the conversation, as conversations.locked does, and set `model` unless it is empty.

    Raises NotAllowed, and StillAnswering while a reply is being written.
    """
    stored_replies.end_silent(conversation.messages.all())
    try:
        with conversations.locked(conversation):
            if model:
                conversations.choose_model(conversation, model)
            yield
    except IntegrityError as error:
        raise StillAnswering("A reply is being written: wait for it, or stop it.") from error


# --- What may be said


def check_said(role: str, text: str, images: Sequence[str]) -> None:
    """Raise NotAllowed unless a file or a page may contain this message."""
    if role == Message.Role.USER:
        check(text, images)
    elif len(text) > MAX_TEXT or images:
        raise NotAllowed("A reply is too long, or has images.")


def check(text: str, images: Sequence[str]) -> None:
    """Raise NotAllowed unless a person may send this text and these images."""
    if not text.strip() and not images:
        raise NotAllowed("Write something first.")
    if len(text) > MAX_TEXT:
        raise NotAllowed(f"A message has at most {MAX_TEXT:,} characters.")
    if len(images) > MAX_IMAGES:
        raise NotAllowed(f"A message has at most {MAX_IMAGES} images.")
    for image in images:
        _check_image(image)


def _check_image(url: str) -> None:
    match = _IMAGE.match(url)
    if match is None:
        raise NotAllowed("An image must be a PNG, JPEG, GIF or WebP file.")
    if len(url) > LONGEST_IMAGE:
        raise NotAllowed(f"An image has at most {MAX_IMAGE_BYTES:,} bytes.")
    try:
        base64.b64decode(url[match.end() :], validate=True)
    except ValueError:  # Not ASCII, or not base64.
        raise NotAllowed("This image is damaged.") from None


def plain(images: Sequence[str]) -> list[str]:
    """Return these checked images without their metadata."""
    return [pictures.without_metadata(image) for image in images]
