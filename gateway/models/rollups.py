"""Rollups: sums of the request log by UTC hour and day. Only `rollups.py` writes them.

They can be rebuilt from the log at any time. Rows without an account are the exception: they
belong to erased accounts, whose requests are gone.
"""

import uuid

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce

from accounts.models import ApiKey
from billing.models import CreditAccount
from gateway.models.catalogue import Route

_NONE = Value(uuid.UUID(int=0), output_field=models.UUIDField())


def _or_none(field: str) -> Coalesce:
    """Replace null by a fixed value: SQLite's unique constraints never see two nulls as equal."""
    return Coalesce(F(field), _NONE, output_field=models.UUIDField())


class Usage(models.Model):
    """Requests of one period with the same model, provider, route, account and key.

    Amounts are nano-dollars. The histograms are those of `histogram.py`, in milliseconds.
    """

    start = models.DateTimeField()
    model = models.CharField(max_length=96, blank=True)
    provider = models.CharField(max_length=32, blank=True)
    route = models.ForeignKey(Route, models.PROTECT, null=True, related_name="+", db_index=False)
    account = models.ForeignKey(
        CreditAccount, models.PROTECT, null=True, related_name="+", db_index=False
    )
    key = models.ForeignKey(ApiKey, models.PROTECT, null=True, related_name="+")
    requests = models.PositiveBigIntegerField()
    errors_caller = models.PositiveBigIntegerField()
    errors_limited = models.PositiveBigIntegerField()
    errors_provider = models.PositiveBigIntegerField()
    errors_kyma = models.PositiveBigIntegerField()
    errors_gone = models.PositiveBigIntegerField()
    prompt_tokens = models.PositiveBigIntegerField()
    cached_tokens = models.PositiveBigIntegerField()
    completion_tokens = models.PositiveBigIntegerField()
    reasoning_tokens = models.PositiveBigIntegerField()
    cost_nano = models.BigIntegerField()
    latency = models.JSONField()
    first_token = models.JSONField()

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(
                "start",
                "model",
                "provider",
                _or_none("route"),
                _or_none("account"),
                _or_none("key"),
                name="one_%(class)s_for_each_kind",
            ),
            models.CheckConstraint(
                condition=Q(cost_nano__gte=0), name="%(class)s_cost_is_not_negative"
            ),
        ]
        indexes = [models.Index(fields=["account", "start"], name="%(class)s_of_account")]

    def __str__(self):
        return f"{type(self).__name__} {self.start:%F %T}"


class UsageHour(Usage):
    """Usage in one UTC hour."""


class UsageDay(Usage):
    """Usage in one UTC day, the sum of its hours."""


class Service(models.Model):
    """The service of one route within one period, to all accounts together.

    Failures are attempts that failed by the provider's fault. `streams` counts the streams that
    were long enough to measure a speed: they wrote `output_tokens` within `writing_ms`.
    """

    start = models.DateTimeField()
    route = models.ForeignKey(Route, models.PROTECT, related_name="+")
    attempts = models.PositiveBigIntegerField()
    failures = models.PositiveBigIntegerField()
    latency = models.JSONField()
    first_token = models.JSONField()
    streams = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField()
    writing_ms = models.PositiveBigIntegerField()

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(fields=["start", "route"], name="one_%(class)s_for_each_route"),
            models.CheckConstraint(
                condition=Q(failures__lte=F("attempts")), name="%(class)s_failures_are_attempts"
            ),
        ]

    def __str__(self):
        return f"{type(self).__name__} {self.start:%F %T}"


class ServiceHour(Service):
    """Service in one UTC hour, which may not be over yet."""


class ServiceDay(Service):
    """Service in one UTC day, the sum of its hours."""


class RollupState(models.Model):
    """How far the log has been folded: one row, which a process must change before it folds."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    final_until = models.DateTimeField(
        help_text="All hours before this are complete in the rollups."
    )
    folded_at = models.DateTimeField(help_text="When the log was last read.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_rollup_state")]

    def __str__(self):
        return f"RollupState {self.final_until:%F %T}"
