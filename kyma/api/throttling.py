"""Limits of requests to /api/ per minute: for a person with all keys, a key, a stranger.

They are counted in Django's cache. Accounts without limits have none here either.
"""

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from kyma.api.authentication import address_of


class PerMinute(SimpleRateThrottle):
    """A rate from settings.API_REQUESTS_PER_MINUTE, by `scope`."""

    cache_format = "api-%(scope)s-%(ident)s"

    def get_rate(self) -> str:
        return f"{settings.API_REQUESTS_PER_MINUTE[self.scope]}/min"

    def get_cache_key(self, request: Request, view) -> str | None:
        if request.user.is_authenticated and view.account.unlimited:
            return None
        ident = self.ident_of(request)
        return ident and self.cache_format % {"scope": self.scope, "ident": ident}

    def ident_of(self, request: Request) -> str | None:
        """Return the identity whose requests are counted, or None to count nothing."""
        raise NotImplementedError


class ByPerson(PerMinute):
    scope = "person"

    def ident_of(self, request: Request) -> str | None:
        return request.user.pk.hex if request.user.is_authenticated else None


class ByKey(PerMinute):
    """The key's own limit applies here too."""

    scope = "key"

    def ident_of(self, request: Request) -> str | None:
        if request.auth is None:
            return None
        own = request.auth.requests_per_minute
        self.num_requests = min(self.num_requests, own or self.num_requests)
        return request.auth.pk.hex


class ByAddress(PerMinute):
    scope = "address"

    def ident_of(self, request: Request) -> str | None:
        return None if request.user.is_authenticated else address_of(request)
