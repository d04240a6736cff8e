"""Searches a person's own conversations by decrypting them, since there is no plain index.

It reads the newest first, some at a time, until there are enough hits or its time is over; the
cursor says where another search goes on. A text that isn't found has all of them decrypted, so
searches are limited: call `count` before `search`.
"""

import dataclasses
import itertools
import math
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db.models.functions import Length

from accounts.encryption import Cipher
from accounts.keyring import data_keys
from accounts.models import User
from billing.accounts import open_account
from chat.errors import NotAllowed
from chat.models import Conversation, Message
from gateway.access import token_buckets
from gateway.access.token_buckets import Bucket, Level
from gateway.errors import TooManyRequests

MAX_HITS = 50
MAX_QUERY = 200  # characters
MAX_WORDS = 10
MOST_AT_ONCE = 2  # searches in this process; others wait for a moment
BATCH, BATCH_BYTES = 200, 1_000_000  # messages that are read at once, and what they hold
AROUND = 80  # characters shown on either side of a hit

_places = threading.BoundedSemaphore(MOST_AT_ONCE)
_searching: set[uuid.UUID] = set()  # people
_searching_lock = threading.Lock()


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """`before`, `match` and `after` are the text around the hit; a title has no `message_id`."""

    conversation_id: uuid.UUID
    message_id: uuid.UUID | None
    title: str
    before: str
    match: str
    after: str


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """`cursor` is the oldest message that was searched; None means that all were."""

    hits: list[Hit]
    cursor: uuid.UUID | None = None


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


def search(user: User, *, text: str, before: uuid.UUID | None = None) -> Found:
    """Return where `text` stands, in any case: titles first, then messages, the newest first.

    With `before`, the cursor of an earlier search, only older messages. Raises NotAllowed for too
    many words, and TooManyRequests if too many searches are running.
    """
    phrase = _Phrase(text)
    if not phrase.words or len(text) > MAX_QUERY:
        return Found([])
    if len(phrase.words) > MAX_WORDS:
        raise NotAllowed(f"Search for at most {MAX_WORDS} words.")
    with _turn(user):
        return _search(user, phrase, before)


@contextmanager
def _turn(user: User) -> Iterator[None]:
    """Let a person search once at a time, and few people at once: it costs the processor."""
    with _searching_lock:
        if user.id in _searching:
            raise TooManyRequests("Your last search is still running: try again in a moment.")
        _searching.add(user.id)
    try:
        if not _places.acquire(timeout=settings.CHAT_SEARCH_TIME_S):
            raise TooManyRequests("Many people are searching: try again in a moment.")
        try:
            yield
        finally:
            _places.release()
    finally:
        with _searching_lock:
            _searching.discard(user.id)


def _search(user: User, phrase: "_Phrase", before: uuid.UUID | None) -> Found:
    ends_at = time.monotonic() + settings.CHAT_SEARCH_TIME_S
    cipher = data_keys.cipher_of(user.id)
    # One hit less, so that there is always room for a message: the cursor goes on from it.
    hits = [] if before else _in_titles(user, phrase, cipher)[: MAX_HITS - 1]
    cursor = None
    for message, conversation, said in _texts(user, cipher, before):
        if cursor is not None and (len(hits) >= MAX_HITS or time.monotonic() > ends_at):
            return Found(_titled(user, hits, cipher), cursor)
        if span := phrase.span(said):
            hits.append(_hit(conversation, message, "", said, span))
        cursor = message
    return Found(_titled(user, hits, cipher))


def _in_titles(user: User, phrase: "_Phrase", cipher: Cipher) -> list[Hit]:
    return [
        _hit(conversation, None, title, title, span)
        for conversation, title in _titles(user, cipher).items()
        if (span := phrase.span(title))
    ]


def _titled(user: User, hits: list[Hit], cipher: Cipher) -> list[Hit]:
    titles = _titles(user, cipher, id__in={one.conversation_id for one in hits})
    return [dataclasses.replace(one, title=titles.get(one.conversation_id, "")) for one in hits]


def _titles(user: User, cipher: Cipher, **wanted) -> dict[uuid.UUID, str]:
    rows = Conversation.objects.of(user).filter(**wanted).values_list("id", "title")
    return {one: _opened(cipher, Conversation, one, "title", sealed) for one, sealed in rows}


def _texts(
    user: User, cipher: Cipher, before: uuid.UUID | None
) -> Iterator[tuple[uuid.UUID, uuid.UUID, str]]:
    # Sorting the ids alone is quick, and then no more texts are read than are needed.
    rows = Message.objects.of(user).exclude(text=None)
    rows = rows.filter(id__lt=before) if before else rows
    for ids in _batches(rows.order_by("-id").values_list("id", Length("text"))):
        batch = Message.objects.filter(id__in=ids).order_by("-id")
        for message, conversation, sealed in batch.values_list("id", "conversation_id", "text"):
            yield message, conversation, _opened(cipher, Message, message, "text", sealed)


def _batches(sized) -> Iterator[list[uuid.UUID]]:
    batch: list[uuid.UUID] = []
    held = 0
    for one, size in sized:
        if batch and (len(batch) == BATCH or held + size > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += size
    if batch:
        yield batch


def _opened(
    cipher: Cipher,
    model: type[Conversation | Message],
    row_id: uuid.UUID,
    field: str,
    sealed: bytes | memoryview | None,
) -> str:
    return cipher.open(sealed, model.place_of(row_id, field)).decode() if sealed else ""


class _Phrase:
    """Words that are sought next to each other, in any case, with any white space between them.

    A regular expression of many words could take long, and nothing else would run meanwhile.
    """

    def __init__(self, text: str) -> None:
        self.words = _folded(text).split()
        self._spaced = " ".join(self.words)

    def span(self, text: str) -> tuple[int, int] | None:
        """Return where the phrase first stands in `text`, or None."""
        folded = _folded(text)
        if any(word not in folded for word in self.words):
            return None
        if len(self.words) == 1:
            start = folded.find(self._spaced)
            return start, start + len(self._spaced)
        spaced = " ".join(folded.split())
        start = spaced.find(self._spaced)
        return self._place(folded, spaced, start) if start >= 0 else None

    def _place(self, folded: str, spaced: str, start: int) -> tuple[int, int]:
        """Return the place in `folded` of the place in `spaced`: in the same words of both."""
        end = start + len(self._spaced)
        number = spaced.count(" ", 0, start)
        found = itertools.islice(re.finditer(r"\S+", folded), number, number + len(self.words))
        starts = [word.start() for word in found]
        into_first = start - (spaced.rfind(" ", 0, start) + 1)
        into_last = end - (spaced.rfind(" ", 0, end) + 1)
        return starts[0] + into_first, starts[-1] + into_last


def _folded(text: str) -> str:
    """Return `text` in lower case, of the same length, and with one kind of sigma."""
    return text.replace("İ", "i").lower().replace("ς", "σ")


def _hit(
    conversation: uuid.UUID,
    message: uuid.UUID | None,
    title: str,
    said: str,
    span: tuple[int, int],
) -> Hit:
    start, end = span
    return Hit(
        conversation,
        message,
        title,
        said[max(start - AROUND, 0) : start],
        said[start:end],
        said[end : end + AROUND],
    )
