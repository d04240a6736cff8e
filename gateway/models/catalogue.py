"""The catalogue in the database: providers, models, and the routes from one to the other."""

import datetime as dt

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.encryption import open_under_master_key, seal_under_master_key
from accounts.ids import uuid7
from accounts.models import ProviderChoice
from billing.models import PriceVersion
from gateway.models.addresses import problem_of

EVIDENCE_LIFETIME = dt.timedelta(days=90)
A_DAY = dt.timedelta(days=1)


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
        KEY_UNREADABLE = "key-unreadable", "its stored key can't be decrypted: set it again"
        UNREACHABLE = "unreachable", "can't be reached"
        ODD = "odd", "gives no list of models"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=32, unique=True)
    name = models.CharField(max_length=64)
    base_url = models.CharField(
        max_length=200,
        # Not URLField, which refuses a host without a dot, as containers have.
        validators=[RegexValidator(r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", "An http(s) address.")],
        help_text="The part of the address before /chat/completions.",
    )
    api_key_sealed = models.BinaryField(null=True, editable=False)
    privacy_policy_url = models.URLField(blank=True)
    retention = models.CharField(
        max_length=10,
        choices=Retention,
        default=Retention.UNKNOWN,
        help_text="How long the provider keeps the data that it is sent (P7).",
    )
    retention_evidence_url = models.URLField(blank=True)
    retention_evidence_date = models.DateField(null=True, blank=True)
    self_hosted = models.BooleanField(
        default=False,
        help_text="A process of the operator's own, so no data goes to a third party.",
    )
    stops_billing_on_cancel = models.BooleanField(
        default=False,
        help_text="The provider stops charging when Kyma hangs up. Without this, Kyma reads an "
        "abandoned answer to its end, to learn its cost.",
    )
    unsupported = models.JSONField(
        default=list,
        blank=True,
        help_text="Request fields, or parts of them, that this provider rejects, as "
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

    def clean(self):
        date = self.retention_evidence_date
        if date and date > timezone.now().date() + A_DAY:
            raise ValidationError({"retention_evidence_date": "This day is yet to come."})
        if problem := problem_of(self.base_url, is_self_hosted=self.self_hosted):
            raise ValidationError({"base_url": problem})

    @property
    def api_key(self) -> str | None:
        """The key as plain text, only for sending it to the provider. Raises SealBroken."""
        if self.api_key_sealed is None:
            return None
        return open_under_master_key(self.api_key_sealed, self._place).decode()

    def set_api_key(self, text: str | None) -> None:
        self.api_key_sealed = seal_under_master_key(text.encode(), self._place) if text else None

    @property
    def effective_retention(self) -> str:
        """The retention that callers are shown: none for a process of the operator's own."""
        return self.Retention.NONE if self.self_hosted else self.retention

    @property
    def kept(self) -> str:
        """The effective retention in words."""
        return self.Retention(self.effective_retention).label

    def states_retention(self, today: dt.date) -> bool:
        """True if the retention is stated, with evidence younger than 90 days (P7)."""
        if self.self_hosted:
            return True
        if self.retention == self.Retention.UNKNOWN or self.retention_evidence_date is None:
            return False
        # A day ahead of UTC is today somewhere. A later date is a slip: it would count for years.
        return -A_DAY <= today - self.retention_evidence_date < EVIDENCE_LIFETIME

    def needed_choice(self, today: dt.date) -> str:
        """Return the least choice of a person with which requests may go here (P7).

        A provider that doesn't state its retention, or no longer, may store everything.
        """
        if self.self_hosted:
            return ProviderChoice.NONE.value
        return self.retention if self.states_retention(today) else ProviderChoice.STORED.value

    @property
    def _place(self) -> str:
        return f"gateway.Provider:{self.id}"


class Model(models.Model):
    """An open model. Callers name it by its slug."""

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
        help_text="What the provider charges, if that differs from the caller's price.",
    )
    context_length = models.PositiveIntegerField(
        null=True, blank=True, help_text="Only if it differs from the model's."
    )
    image_tokens = models.PositiveIntegerField(
        default=2048, help_text="The most tokens that one image counts as."
    )
    template_tokens = models.PositiveIntegerField(
        default=512,
        help_text="The most tokens that the chat template adds, such as a default system message.",
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
