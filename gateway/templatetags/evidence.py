"""Template tag with the evidence that the operator must read again."""

from django import template
from django.utils import timezone

from gateway.models.evidence import DueEvidence, due

register = template.Library()


@register.simple_tag
def due_evidence() -> list[DueEvidence]:
    return due(timezone.now().date())
