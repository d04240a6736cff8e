"""The providers to which a person's requests may go (P7)."""

import datetime as dt

from accounts.models import User
from gateway.models import Provider


def allow_unstated_retention(user: User, *, allowed: bool) -> None:
    """Allow or forbid providers that don't state how long they keep data.

    Every process obeys within two seconds.
    """
    user.allows_unstated_retention = allowed
    user.save(update_fields=["allows_unstated_retention"])


def providers_without_retention(today: dt.date) -> list[Provider]:
    """Return the providers in use that state no retention, or whose evidence is too old."""
    providers = Provider.objects.filter(enabled=True, routes__enabled=True).distinct()
    return [one for one in providers.order_by("name") if not one.states_retention(today)]
