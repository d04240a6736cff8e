"""The base of all views of /api/: a scope, and checks of query and body before their use."""

from functools import cached_property
from typing import Any

from django.core.exceptions import PermissionDenied
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from billing.accounts import open_account
from billing.models import CreditAccount


class Resource(APIView):
    """A view of /api/. A key needs the scope `scope`."""

    scope: str | None
    cache_control = "no-store"

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {**super().default_response_headers, "Cache-Control": self.cache_control}

    def perform_authentication(self, request: Request) -> None:
        """Count every request, also one that is then refused for its key or its scope.

        Without the database none is counted: it would be asked again who that is.
        """
        try:
            super().perform_authentication(request)
        except (APIException, PermissionDenied):
            super().check_throttles(request)
            raise
        super().check_throttles(request)

    def check_throttles(self, request: Request) -> None:
        """Do nothing: perform_authentication has counted already."""

    @cached_property
    def account(self) -> CreditAccount:
        return open_account(self.request.user)

    def query(self, serializer: type[Serializer]) -> dict[str, Any]:
        """Return the checked query of the address. Raises ValidationError."""
        given = serializer(data=self.request.query_params.dict())
        given.is_valid(raise_exception=True)
        return given.validated_data

    def body(self, serializer: type[Serializer]) -> dict[str, Any]:
        """Return the checked body. Raises ValidationError."""
        given = serializer(data=self.request.data)
        given.is_valid(raise_exception=True)
        return given.validated_data


class Public(Resource):
    """A view for everybody, which reads no key and no session."""

    scope = None
    authentication_classes = ()
    cache_control = "public, max-age=60"
