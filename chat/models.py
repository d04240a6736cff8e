"""Conversations and their messages, all text sealed under the data key of their owner (P2)."""

import datetime as dt

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.encryption import Cipher
from accounts.ids import uuid7
from accounts.models import User


class SealedFields(models.Model):
    """Text that is sealed, bound to its row and its field; null when there is none."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        abstract = True

    @classmethod
    def place_of(cls, row_id, field: str) -> str:
        return f"{cls._meta.label}:{row_id}:{field}"

    def opened(self, cipher: Cipher, field: str) -> str:
        """Return the text of `field` in clear; empty if there is none. Raises SealBroken."""
        sealed = getattr(self, field)
        return cipher.open(sealed, self.place_of(self.id, field)).decode() if sealed else ""

    def seal(self, cipher: Cipher, **texts: str) -> None:
        """Seal these texts into their fields, without saving."""
        for field, text in texts.items():
            setattr(self, field, self.sealed(cipher, field, text))

    def sealed(self, cipher: Cipher, field: str, text: str) -> bytes | None:
        # UTF-8 has no lone surrogates, and no keyboard sends one.
        plain = text.encode(errors="replace")
        return cipher.seal(plain, self.place_of(self.id, field)) if text else None


class Import(models.Model):
    """A file whose conversations are being stored. The row is deleted when all of them are there.

    It counts with `bytes` towards what the person has stored (chat/files/imports.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="+")
    bytes = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self):
        return f"Import {str(self.id)[:13]}"


class ConversationQuerySet(models.QuerySet):
    def of(self, user: User):
        """Return the complete conversations of `user`: the pinned first, then the last used."""
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
    model = models.CharField(
        max_length=96, help_text="The slug of the model that writes the next reply."
    )
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
        help_text="The running import that stores this. Until it is complete, no page shows this.",
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
    """A message of the person's, or a reply to it. Siblings have the same parent.

    `request_id` is the id of a reply's request in the log. It is no foreign key, because either row
    may be deleted first. The cost is null until it is settled.
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
    # DO_NOTHING, because messages are only deleted together with their whole conversation.
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
    estimated = models.BooleanField(
        default=False, help_text="Kyma counted the tokens, as the provider stated no usage."
    )
    cost_nano = models.BigIntegerField(null=True, default=0)
    request_id = models.UUIDField(null=True)
    error = models.CharField(
        max_length=64, blank=True, help_text="The code of the error that ended it."
    )
    error_text = models.BinaryField(null=True, help_text="The error's message for people, sealed.")
    stop_requested_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MessageQuerySet.as_manager()

    # A reply that hasn't been stored for longer than this belongs to a dead process.
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
        """True when nothing more will come. An interrupted reply doesn't wait for its bill."""
        if self.state == self.State.INTERRUPTED:
            return True
        return not self.is_streaming and self.cost_nano is not None
