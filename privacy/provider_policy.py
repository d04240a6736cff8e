"""The providers to which a person's requests may go (P7): the choice, and its record."""

import datetime as dt
from collections import defaultdict

from django.db import transaction

from accounts.models import ProviderChoice, User
from gateway.models import Provider
from privacy.models import ProviderConsent

# Of templates/privacy/_choice.html: raise it with each change of what people consent to.
TEXT_VERSION = 1
NO_TEXT = 0  # The choice was made without the page, at the set-up of a machine.


def choose(user: User, choice: str, *, text_version: int = TEXT_VERSION) -> None:
    """Set the widest class of providers that the person allows, and record the change.

    Every process obeys within two seconds.
    """
    after = ProviderChoice(choice).value
    with transaction.atomic():
        before = User.objects.select_for_update().get(pk=user.pk).provider_choice
        if before != after:
            User.objects.filter(pk=user.pk).update(provider_choice=after)
            ProviderConsent.objects.create(
                user=user, before=before, after=after, text_version=text_version
            )
    user.provider_choice = after


def history(user: User) -> list[ProviderConsent]:
    """Return the person's answers, the newest first."""
    return list(ProviderConsent.objects.filter(user=user).order_by("-created_at", "-id"))


def providers_by_choice(today: dt.date) -> dict[str, list[Provider]]:
    """Return the providers in use by the choice that they need."""
    providers = Provider.objects.filter(
        enabled=True, routes__enabled=True, routes__model__enabled=True
    )
    found: dict[str, list[Provider]] = defaultdict(list)
    for provider in providers.distinct().order_by("name"):
        found[provider.needed_choice(today)].append(provider)
    return found
