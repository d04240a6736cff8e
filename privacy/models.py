from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import ProviderChoice


class ProviderConsent(models.Model):
    """One answer of a person about the providers that their requests may go to (P7)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    before = models.CharField(max_length=10, choices=ProviderChoice, blank=True)
    after = models.CharField(max_length=10, choices=ProviderChoice)
    text_version = models.PositiveSmallIntegerField(
        help_text="The version of the text that the person answered; 0: no text was shown."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(before__in=("", *ProviderChoice.values))
                & Q(after__in=ProviderChoice.values),
                name="a_consent_is_between_choices",
            ),
            models.CheckConstraint(condition=~Q(before=F("after")), name="a_consent_is_a_change"),
        ]

    def __str__(self):
        return f"ProviderConsent {str(self.id)[:13]}"
