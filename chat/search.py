"""Searches a person's own conversations by decrypting them, since there is no plain index.

It reads the newest first, page by page, until there are enough hits. A text that isn't found has
all of them decrypted, so searches are limited: call `count` before `search`.
"""

import dataclasses
import math
import re
import uuid
from collections.abc import Iterator

from asgiref.sync import async_to_sync
from django.conf import settings

from accounts.encryption import Cipher
from accounts.keyring import data_keys
from accounts.models import User
from billing.accounts import open_account
from chat.models import Conversation, Message
from gateway.access import token_buckets
from gateway.access.token_buckets import Bucket, Level
from gateway.errors import TooManyRequests

MAX_HITS = 50
MAX_QUERY = 200  # characters
PAGE = 1_000  # messages
AROUND = 80  # characters shown on either side of a hit


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """`before`, `match` and `after` are the text around the hit; a title has no `message_id`."""

    conversation_id: uuid.UUID
    message_id: uuid.UUID | None
    title: str
    before: str
    match: str
    after: str


def count(user: User) -> None:
    """Count one search of `user`'s, from any page or API. Raises TooManyRequests."""
    if open_account(user).unlimited:
        return
    most = settings.CHAT_SEARCHES_PER_MINUTE
    level = async_to_sync(_take)(Bucket(f"chat_searches:{user.id}", most))
    if level.wait_s:
        seconds = math.ceil(level.wait_s)
        raise TooManyRequests(
            f"Chats may be searched {most:,} times per minute, and that is used up: "
            f"try again in {seconds} s.",
            retry_after_s=seconds,
        )


async def _take(bucket: Bucket) -> Level:
    (level,) = await token_buckets.take([bucket])
    return level


def search(user: User, *, text: str) -> list[Hit]:
    """Return where `text` stands, in any case: titles first, then messages, the newest first."""
    words = text.split()
    if not words or len(text) > MAX_QUERY:
        return []
    # White space matches any other white space.
    wanted = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE)
    cipher = data_keys.cipher_of(user.id)
    titles = _titles(user, cipher)
    hits = [
        _hit(conversation, None, title, title, match)
        for conversation, title in titles.items()
        if (match := wanted.search(title))
    ]
    for message, conversation, said in _texts(user, cipher):
        if len(hits) >= MAX_HITS:
            break
        if match := wanted.search(said):
            hits.append(_hit(conversation, message, titles.get(conversation, ""), said, match))
    return hits[:MAX_HITS]


def _titles(user: User, cipher: Cipher) -> dict[uuid.UUID, str]:
    rows = Conversation.objects.of(user).values_list("id", "title")
    return {one: _opened(cipher, Conversation, one, "title", sealed) for one, sealed in rows}


def _texts(user: User, cipher: Cipher) -> Iterator[tuple[uuid.UUID, uuid.UUID, str]]:
    # Sorting the ids alone is quick, and then no more texts are read than are needed.
    rows = Message.objects.of(user).exclude(text=None)
    ids = list(rows.order_by("-id").values_list("id", flat=True))
    for start in range(0, len(ids), PAGE):
        page = Message.objects.filter(id__in=ids[start : start + PAGE]).order_by("-id")
        for message, conversation, sealed in page.values_list("id", "conversation_id", "text"):
            yield message, conversation, _opened(cipher, Message, message, "text", sealed)


def _opened(
    cipher: Cipher,
    model: type[Conversation | Message],
    row_id: uuid.UUID,
    field: str,
    sealed: bytes | memoryview | None,
) -> str:
    return cipher.open(sealed, model.place_of(row_id, field)).decode() if sealed else ""


def _hit(
    conversation: uuid.UUID,
    message: uuid.UUID | None,
    title: str,
    said: str,
    match: re.Match,
) -> Hit:
    start, end = match.span()
    return Hit(
        conversation,
        message,
        title,
        said[max(start - AROUND, 0) : start],
        said[start:end],
        said[end : end + AROUND],
    )
