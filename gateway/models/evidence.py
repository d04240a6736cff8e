"""The age of the evidence of what providers keep (P7).

It counts for 90 days, and warns the operator from day 60, so that nothing vanishes by surprise.
"""

import dataclasses
import datetime as dt

from django.db import models

from gateway.models.catalogue import EVIDENCE_LIFETIME, Provider

WARNS_AFTER = dt.timedelta(days=60)


class EvidenceState(models.TextChoices):
    AGEING = "ageing", "soon too old"
    TOO_OLD = "too-old", "too old to count"


@dataclasses.dataclass(frozen=True, slots=True)
class DueEvidence:
    """A provider's evidence that must be read again. `age_days` is None if there is no date."""

    provider: Provider
    state: EvidenceState
    age_days: int | None

    def __str__(self) -> str:
        if self.age_days is None:
            return "missing: used only with consent to “stored”"
        if self.state is EvidenceState.TOO_OLD:
            return f"{self.age_days} days old: used only with consent to “stored”"
        left = EVIDENCE_LIFETIME.days - self.age_days
        return f"{self.age_days} days old: counts for {left} more"


def due_of(provider: Provider, today: dt.date) -> DueEvidence | None:
    """Return the provider's evidence if it must be read again, or None."""
    if provider.self_hosted or provider.retention == Provider.Retention.UNKNOWN:
        return None
    date = provider.retention_evidence_date
    age = None if date is None else today - date
    if not provider.states_retention(today):
        state = EvidenceState.TOO_OLD
    elif age is not None and age >= WARNS_AFTER:
        state = EvidenceState.AGEING
    else:
        return None
    return DueEvidence(provider, state, None if age is None else age.days)


def due(today: dt.date) -> list[DueEvidence]:
    """Return the evidence of all enabled providers that must be read again, the oldest first."""
    rows = Provider.objects.filter(enabled=True).order_by("retention_evidence_date", "slug")
    return [found for row in rows if (found := due_of(row, today))]
