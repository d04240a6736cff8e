"""The request log: the counts of each request and, in a table apart, its content."""

import datetime as dt
import uuid

from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import ApiKey
from billing.models import CreditAccount, Hold, PriceVersion
from gateway.models.catalogue import Route

NEWEST_FIRST = ("-created_at", "-id")


class ContentLeftOut(models.TextChoices):
    """The reasons for which content isn't kept although the key keeps content."""

    BUDGET = "budget", "the account had stored as much as it may within a day"
    BUSY = "busy", "Kyma had too much to write at that moment"


class ApiRequest(models.Model):
    """One authenticated request: counts, timing and money, keyed hashes, no free text (P9).

    A request whose hold was settled or swept has exactly one row. Any other, such as a refusal,
    has at most one: its row is dropped and counted while the commit queue is half full or the
    database out of reach. A request without a valid key has none. Amounts are nano-dollars, times
    are milliseconds.
    """

    class Outcome(models.TextChoices):
        FINISHED = "finished", "finished"
        EMPTY = "empty", "no content at all"
        CLIENT_GONE = "client-gone", "the client went away"
        UPSTREAM_FAILED = "upstream-failed", "the provider failed"
        KYMA_FAILED = "kyma-failed", "a fault of Kyma's, or its restart"
        REFUSED = "refused", "refused before any provider was asked"
        REPLAYED = "replayed", "answered before, under the same Idempotency-Key"
        LOST = "lost", "it could not be settled, or its process died"

    id = models.UUIDField(primary_key=True, editable=False)
    # The indexes below serve account and key: they find the newest requests at once.
    account = models.ForeignKey(
        CreditAccount, models.PROTECT, related_name="requests", db_index=False
    )
    key = models.ForeignKey(ApiKey, models.PROTECT, null=True, related_name="+", db_index=False)
    created_at = models.DateTimeField()
    api = models.CharField(max_length=24)
    streamed = models.BooleanField(default=False)
    outcome = models.CharField(max_length=16, choices=Outcome)
    status = models.PositiveSmallIntegerField(help_text="The HTTP status that the caller saw.")
    error_type = models.CharField(max_length=40, blank=True)
    finish_reason = models.CharField(max_length=24, blank=True)

    model = models.CharField(max_length=96, blank=True)
    alias = models.CharField(max_length=32, blank=True)
    # No index: every request would write it, and only the rare deletion of a route would read it.
    route = models.ForeignKey(Route, models.PROTECT, null=True, related_name="+", db_index=False)
    provider = models.CharField(max_length=32, blank=True)
    price_version = models.ForeignKey(
        PriceVersion, models.PROTECT, null=True, related_name="+", db_index=False
    )
    attempts = models.JSONField(default=list)

    prompt_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    images = models.PositiveIntegerField(default=0)
    estimated = models.BooleanField(
        default=False, help_text="Kyma counted the tokens, as the provider stated no usage."
    )
    flagged = models.BooleanField(
        default=False, help_text="The provider stated an impossible usage."
    )

    hold_nano = models.BigIntegerField(default=0)
    cost_nano = models.BigIntegerField(default=0)
    loss_nano = models.BigIntegerField(
        default=0, help_text="Cost beyond the hold, which Kyma bears."
    )
    upstream_cost_nano = models.BigIntegerField(
        null=True, help_text="What the provider charges Kyma."
    )

    overhead_ms = models.FloatField(null=True)
    first_token_ms = models.FloatField(null=True)
    latency_ms = models.FloatField(null=True)

    session_hash = models.CharField(max_length=32, blank=True)
    user_hash = models.CharField(max_length=32, blank=True)
    content_left_out = models.CharField(
        max_length=8,
        blank=True,
        choices=ContentLeftOut,
        db_default="",
        help_text="Why the content isn't kept, although the key keeps content.",
    )

    class Meta:
        verbose_name = "API request"
        indexes = [
            models.Index(fields=["account", "created_at"], name="requests_of_account"),
            models.Index(fields=["account", "id"], name="request_ids_of_account"),
            models.Index(fields=["key", "created_at"], name="requests_of_key"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(cost_nano__gte=0, hold_nano__gte=0, loss_nano__gte=0)
                & Q(cost_nano__lte=models.F("hold_nano")),
                name="cost_is_within_the_hold",
            ),
            models.CheckConstraint(
                condition=Q(cached_tokens__lte=models.F("prompt_tokens")),
                name="cached_tokens_are_prompt_tokens",
            ),
            models.CheckConstraint(
                condition=Q(content_left_out__in=["", *ContentLeftOut.values]),
                name="content_is_left_out_for_a_reason",
            ),
        ]

    def __str__(self):
        return f"ApiRequest {str(self.id)[:13]}"


BILLED = (ApiRequest.Outcome.FINISHED, ApiRequest.Outcome.CLIENT_GONE)


class RequestContent(models.Model):
    """The content of one request: messages, answer, IP address and user agent, sealed (P2).

    Its id is the request's, without a foreign key: on Postgres the table is partitioned by the day
    in the id. The content is sealed under the data key of the account's owner.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    account_id = models.UUIDField(db_index=True)
    sealed = models.BinaryField()
    purge_at = models.DateTimeField(db_index=True)

    def __str__(self):
        return f"RequestContent {str(self.id)[:13]}"

    @property
    def place(self) -> str:
        return content_place(self.id.hex)


class IdempotentRequestQuerySet(models.QuerySet):
    def standing(self, now: dt.datetime):
        """Return the keys that are taken: in flight while a hold stands, or answered and valid."""
        holds = Hold.objects.filter(pk=OuterRef("request_id"))
        in_flight = Q(Exists(holds), completed_at=None)
        return self.filter(in_flight | Q(completed_at__isnull=False, expires_at__gt=now))


class IdempotentRequest(models.Model):
    """A request that came with an Idempotency-Key: in flight, or with its complete answer.

    The answer is sealed under the data key of the account's owner. It is null if no content is
    kept. Without an answer the key is taken as long as the request's hold stands. The digests
    reveal neither the Idempotency-Key nor the body.
    """

    id = models.CharField(primary_key=True, max_length=64, editable=False)
    account = models.ForeignKey(CreditAccount, models.PROTECT, related_name="+")
    request_id = models.UUIDField()
    body_digest = models.CharField(max_length=64)
    completed_at = models.DateTimeField(null=True)
    answer = models.BinaryField(null=True)
    expires_at = models.DateTimeField(db_index=True)

    objects = IdempotentRequestQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(answer=None) | Q(completed_at__isnull=False),
                name="only_complete_answers_are_kept",
            ),
        ]

    def __str__(self):
        return f"IdempotentRequest {self.id[:13]}"

    @property
    def place(self) -> str:
        return kept_answer_place(self.id)


def kept_answer_place(claim_id: str) -> str:
    """Return the place that a kept answer is sealed to."""
    return f"gateway.IdempotentRequest:{claim_id}"


def content_place(request_id: str) -> str:
    """Return the place that content is sealed to; `request_id` is 32 hexadecimal digits."""
    return f"gateway.RequestContent:{request_id}"


def older(rows: QuerySet, at: dt.datetime, id: uuid.UUID) -> QuerySet:
    """Return the rows that are older than the one with this `created_at` and id."""
    rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=id))
    return rows.filter(created_at__lte=at)  # Lets the database enter the index.
