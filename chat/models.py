"""Conversations and their messages, all text sealed under the data key of their owner (P2)."""

import datetime as dt

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.encryption import Cipher
from accounts.ids import uuid7
from accounts.models import User


class SealedFields(models.Model):
    """Text that lies sealed, bound to its row and its field; null where there is none."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        abstract = True

    @classmethod
    def place_of(cls, row_id, field: str) -> str:
        return f"{cls._meta.label}:{row_id}:{field}"

    def opened(self, cipher: Cipher, field: str) -> str:
        """The text of `field` in clear; empty if there is none. Raises SealBroken."""
        sealed = getattr(self, field)
        return cipher.open(sealed, self.place_of(self.id, field)).decode() if sealed else ""

    def seal(self, cipher: Cipher, **texts: str) -> None:
        """Put these texts into their fields, sealed; nothing is saved."""
        for field, text in texts.items():
            setattr(self, field, self.sealed(cipher, field, text))

    def sealed(self, cipher: Cipher, field: str, text: str) -> bytes | None:
        # A lone surrogate comes from no keyboard, and UTF-8 has none.
        plain = text.encode(errors="replace")
        return cipher.seal(plain, self.place_of(self.id, field)) if text else None


class Import(models.Model):
    """A file whose conversations are being stored; it goes when all of them are there.

    It counts as `bytes` of what is stored of the person (chat/files/imports.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="+")
    bytes = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self):
        return f"Import {str(self.id)[:13]}"


class ConversationQuerySet(models.QuerySet):
    def of(self, user: User):
        """What is `user`'s and whole: the pinned first, then as they were last used."""
        pinned_last = models.F("pinned_at").desc(nulls_last=True)
        rows = self.filter(user=user, part_of=None)
        return rows.order_by(pinned_last, "-updated_at", "-id")

    def current(self):
        return self.filter(archived_at=None)

    def archived(self):
        return self.exclude(archived_at=None)


class Conversation(SealedFields):
    """One conversation of one person. Its messages form a tree; `leaf` ends the branch shown."""

    user = models.ForeignKey(User, models.PROTECT, related_name="conversations")
    title = models.BinaryField(null=True)
    system_prompt = models.BinaryField(null=True)
    model = models.CharField(max_length=96, help_text="The slug that the next reply is asked of.")
    parameters = models.JSONField(default=dict, help_text="temperature, top_p, max_tokens")
    leaf = models.ForeignKey(
        "chat.Message", models.DO_NOTHING, null=True, related_name="+", db_index=False
    )
    part_of = models.ForeignKey(
        Import,
        models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
        help_text="The import that isn't stored wholly yet: it is shown nowhere.",
    )
    pinned_at = models.DateTimeField(null=True)
    archived_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["user", "-updated_at"], name="conversations_of_user"),
            models.Index(
                fields=["part_of"],
                condition=Q(part_of__isnull=False),
                name="conversations_of_import",
            ),
        ]

    def __str__(self):
        return f"Conversation {str(self.id)[:13]}"


class MessageQuerySet(models.QuerySet):
    def of(self, user: User):
        return self.filter(conversation__user=user, conversation__part_of=None)


class Message(SealedFields):
    """What the person said, or a reply to it. Siblings have the same parent.

    A reply's request in the log has the id `request_id`, without a foreign key: either may go
    first. Its cost is null until it is settled.
    """

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    class State(models.TextChoices):
        STREAMING = "streaming"
        FINISHED = "finished"
        STOPPED = "stopped", "stopped by the person"
        INTERRUPTED = "interrupted", "the process that wrote it ended"
        FAILED = "failed"

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    # Nothing: a message goes with its conversation alone, all of which goes at once.
    parent = models.ForeignKey("self", models.DO_NOTHING, null=True, related_name="replies")
    role = models.CharField(max_length=10, choices=Role)
    state = models.CharField(max_length=12, choices=State, default=State.FINISHED)
    text = models.BinaryField(null=True)
    reasoning = models.BinaryField(null=True)
    images = models.BinaryField(null=True, help_text="A JSON list of data URLs.")
    model = models.CharField(max_length=96, blank=True)
    provider = models.CharField(max_length=32, blank=True)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    estimated = models.BooleanField(default=False, help_text="Counted by us, not by the provider.")
    cost_nano = models.BigIntegerField(null=True, default=0)
    request_id = models.UUIDField(null=True)
    error = models.CharField(max_length=64, blank=True, help_text="Why it failed: a code.")
    error_text = models.BinaryField(null=True, help_text="The same for people.")
    stop_requested_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MessageQuerySet.as_manager()

    # A reply that is older than that without having been stored belongs to a dead process.
    SILENT_FOR = dt.timedelta(seconds=30)

    class Meta:
        indexes = [
            models.Index(
                fields=["updated_at"], condition=Q(cost_nano=None), name="replies_not_yet_settled"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(state="streaming"),
                name="one_streaming_reply_per_conversation",
            ),
            models.CheckConstraint(
                condition=Q(role="assistant")
                | Q(state="finished", cost_nano=0, cost_nano__isnull=False, request_id=None),
                name="only_replies_are_streamed_and_paid",
            ),
            models.CheckConstraint(
                condition=Q(cost_nano=None) | Q(cost_nano__gte=0), name="a_reply_costs_no_less"
            ),
            models.CheckConstraint(
                condition=~Q(state="failed", error=""), name="what_failed_says_why"
            ),
        ]

    def __str__(self):
        return f"Message {str(self.id)[:13]}"

    @property
    def is_reply(self) -> bool:
        return self.role == self.Role.ASSISTANT

    @property
    def is_streaming(self) -> bool:
        return self.state == self.State.STREAMING

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come: the bill of an interrupted reply isn't waited for."""
        if self.state == self.State.INTERRUPTED:
            return True
        return not self.is_streaming and self.cost_nano is not None
