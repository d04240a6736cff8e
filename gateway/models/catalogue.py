"""Providers, models and routes; the log of requests and, apart from it, their content."""

import datetime as dt

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.encryption import open_under_master_key, seal_under_master_key
from accounts.ids import uuid7
from accounts.models import ApiKey
from billing.models import CreditAccount, PriceVersion

EVIDENCE_LIFETIME = dt.timedelta(days=90)


class Provider(models.Model):
    """A company (or a process of ours) that serves models over HTTP."""

    class Retention(models.TextChoices):
        NONE = "none", "nothing kept beyond serving"
        ABUSE_30D = "abuse_30d", "up to 30 days, against abuse"
        STORED = "stored", "kept"
        UNKNOWN = "unknown", "not stated"

    class ProbeNote(models.TextChoices):
        ANSWERS = "answers", "answers"
        KEY_REFUSED = "key-refused", "refuses the key"
        KEY_UNREADABLE = "key-unreadable", "its stored key doesn't open: set it anew"
        UNREACHABLE = "unreachable", "can't be reached"
        ODD = "odd", "gives no list of models"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=32, unique=True)
    name = models.CharField(max_length=64)
    base_url = models.CharField(
        max_length=200,
        # Not URLField, which refuses a host without a dot, as containers have.
        validators=[RegexValidator(r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", "An http(s) address.")],
        help_text="What comes before /chat/completions.",
    )
    api_key_sealed = models.BinaryField(null=True, editable=False)
    privacy_policy_url = models.URLField(blank=True)
    retention = models.CharField(
        max_length=10,
        choices=Retention,
        default=Retention.UNKNOWN,
        help_text="How long the provider keeps what it is sent (P7).",
    )
    retention_evidence_url = models.URLField(blank=True)
    retention_evidence_date = models.DateField(null=True, blank=True)
    self_hosted = models.BooleanField(
        default=False, help_text="A process of the operator's own: nothing leaves the house."
    )
    stops_billing_on_cancel = models.BooleanField(
        default=False, help_text="Else an abandoned answer is read to its end, to know its cost."
    )
    unsupported = models.JSONField(
        default=list,
        blank=True,
        help_text="Request fields that this provider rejects, and parts of them, as "
        "gateway/catalogue/strictness.py lists them.",
    )
    wants_max_completion_tokens = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    probed_at = models.DateTimeField("last probe", null=True, editable=False)
    probe_ok = models.BooleanField("probe ok", null=True, editable=False)
    probe_note = models.CharField(max_length=16, choices=ProbeNote, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(probed_at__isnull=True, probe_ok__isnull=True, probe_note="")
                | (Q(probed_at__isnull=False, probe_ok__isnull=False) & ~Q(probe_note="")),
                name="a_probe_has_a_time_and_a_finding",
            ),
        ]

    def __str__(self):
        return f"Provider {self.slug}"

    @property
    def api_key(self) -> str | None:
        """The key in clear, for the transport only. Raises SealBroken."""
        if self.api_key_sealed is None:
            return None
        return open_under_master_key(self.api_key_sealed, self._place).decode()

    def set_api_key(self, text: str | None) -> None:
        self.api_key_sealed = seal_under_master_key(text.encode(), self._place) if text else None

    def states_retention(self, today: dt.date) -> bool:
        """Whether it is known, with evidence younger than 90 days, what the provider keeps (P7)."""
        if self.self_hosted:
            return True
        if self.retention == self.Retention.UNKNOWN or self.retention_evidence_date is None:
            return False
        return today - self.retention_evidence_date < EVIDENCE_LIFETIME

    @property
    def _place(self) -> str:
        return f"gateway.Provider:{self.id}"


class Model(models.Model):
    """An open model, by the slug under which callers ask for it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=96, unique=True)
    name = models.CharField(max_length=128)
    maker = models.CharField(max_length=64)
    license = models.CharField(max_length=64, blank=True)
    description = models.TextField(blank=True)
    hugging_face_id = models.CharField(max_length=128, blank=True)
    released = models.DateField(null=True, blank=True)
    context_length = models.PositiveIntegerField(help_text="tokens")
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    capabilities = models.JSONField(default=list, blank=True)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self):
        return f"Model {self.slug}"


class Route(models.Model):
    """One way to a model: through a provider, under the provider's name, at a price."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    model = models.ForeignKey(Model, models.PROTECT, related_name="routes")
    provider = models.ForeignKey(Provider, models.PROTECT, related_name="routes")
    upstream_model = models.CharField(max_length=160)
    price_version = models.ForeignKey(
        PriceVersion, models.PROTECT, related_name="+", help_text="What the caller pays."
    )
    cost_version = models.ForeignKey(
        PriceVersion,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="What the provider charges, where it differs.",
    )
    context_length = models.PositiveIntegerField(
        null=True, blank=True, help_text="Where it differs from the model's."
    )
    image_tokens = models.PositiveIntegerField(
        default=2048, help_text="The most tokens that one image counts as."
    )
    template_tokens = models.PositiveIntegerField(
        default=512,
        help_text="The most tokens that the chat template adds of its own, such as a system line "
        "where the caller gives none.",
    )
    quantization = models.CharField(max_length=16, blank=True)
    passthrough = models.BooleanField(
        default=False, help_text="Forward request fields that Kyma doesn't know."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "provider"], name="one_route_per_provider"),
        ]

    def __str__(self):
        return f"Route {str(self.id)[:13]}"


class ApiRequest(models.Model):
    """One authenticated request: counts, timing and money, keyed hashes, no free text (P9).

    One row for each whose hold was settled or swept. Of any other, such as a refusal, there is at
    most one: while the commit queue is half full or the database away, their rows are dropped and
    counted. A request without a valid key leaves none. Amounts are nano-dollars, times
    milliseconds.
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
    # The indexes of account and key are those below: they find the newest requests at once.
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
    # Only the rare deletion of a route would read an index of these; every request would write it.
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
    estimated = models.BooleanField(default=False, help_text="Counted by us, not by the provider.")
    flagged = models.BooleanField(default=False, help_text="The provider's usage was absurd.")

    hold_nano = models.BigIntegerField(default=0)
    cost_nano = models.BigIntegerField(default=0)
    loss_nano = models.BigIntegerField(default=0, help_text="Cost beyond the hold: ours to bear.")
    upstream_cost_nano = models.BigIntegerField(null=True, help_text="What it cost us.")

    overhead_ms = models.FloatField(null=True)
    first_token_ms = models.FloatField(null=True)
    latency_ms = models.FloatField(null=True)

    session_hash = models.CharField(max_length=32, blank=True)
    user_hash = models.CharField(max_length=32, blank=True)

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
        ]

    def __str__(self):
        return f"ApiRequest {str(self.id)[:13]}"


BILLED = (ApiRequest.Outcome.FINISHED, ApiRequest.Outcome.CLIENT_GONE)


class RequestContent(models.Model):
    """What one request said: messages, answer, IP address and user agent, sealed (P2).

    Its id is the request's, without a foreign key: on Postgres the table is partitioned by
    the day that is in the id. Sealed under the data key of the account's owner.
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
        """Keys that are taken: in flight in a process that lives, or answered and not expired."""
        in_flight = Q(completed_at=None, deadline__gt=now)
        return self.filter(in_flight | Q(completed_at__isnull=False, expires_at__gt=now))


class IdempotentRequest(models.Model):
    """A request that came with an Idempotency-Key: in flight, or with its complete answer.

    The answer is sealed under the data key of the account's owner, and null where the API key
    keeps no content. Neither the key nor the body can be told from the digests.
    """

    id = models.CharField(primary_key=True, max_length=64, editable=False)
    account = models.ForeignKey(CreditAccount, models.PROTECT, related_name="+")
    request_id = models.UUIDField()
    body_digest = models.CharField(max_length=64)
    deadline = models.DateTimeField(help_text="In flight until then, at the most.")
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
    """What a kept answer is bound to."""
    return f"gateway.IdempotentRequest:{claim_id}"


def content_place(request_id: str) -> str:
    """What sealed content is bound to; `request_id` as 32 hexadecimal digits."""
    return f"gateway.RequestContent:{request_id}"
