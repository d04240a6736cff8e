"""What all of /api/ has in common: a scope, and what comes in is checked before it is used."""

from functools import cached_property
from typing import Any

from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from billing.accounts import open_account
from billing.models import CreditAccount


class Resource(APIView):
    """A view of /api/. `scope` is what a key needs for it."""

    scope: str | None
    cache_control = "no-store"

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {**super().default_response_headers, "Cache-Control": self.cache_control}

    def perform_authentication(self, request: Request) -> None:
        """Every call counts, also one that is then refused for its key or its scope."""
        try:
            super().perform_authentication(request)
        finally:
            super().check_throttles(request)

    def check_throttles(self, request: Request) -> None:
        """That was done with the authentication."""

    @cached_property
    def account(self) -> CreditAccount:
        return open_account(self.request.user)

    def query(self, serializer: type[Serializer]) -> dict[str, Any]:
        """What the address asks, checked. Raises ValidationError."""
        given = serializer(data=self.request.query_params.dict())
        given.is_valid(raise_exception=True)
        return given.validated_data

    def body(self, serializer: type[Serializer]) -> dict[str, Any]:
        """What was sent, checked. Raises ValidationError."""
        given = serializer(data=self.request.data)
        given.is_valid(raise_exception=True)
        return given.validated_data


class Public(Resource):
    """Open to everybody: it looks at no key and no session."""

    scope = None
    authentication_classes = ()
    cache_control = "public, max-age=60"
