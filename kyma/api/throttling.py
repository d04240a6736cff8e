"""How often /api/ may be asked per minute: by a person with all keys, by one key, by a stranger.

Counted in Django's cache. Accounts without limits have none here.
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
        """Whose requests are counted; None if these aren't."""
        raise NotImplementedError


class ByPerson(PerMinute):
    scope = "person"

    def ident_of(self, request: Request) -> str | None:
        return request.user.pk.hex if request.user.is_authenticated else None


class ByKey(PerMinute):
    """A key's own limit counts here too."""

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
