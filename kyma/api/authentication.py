"""Finds the caller of /api/: the owner of the key in the header, or else the signed-in person.

A key is accepted only in `Authorization`, not in a cookie, a query or a body, because these end up
in logs and histories. A wrong key in that header is refused, even if there is a session.
"""

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import keys
from accounts.errors import InvalidKey
from accounts.models import ApiKey, User
from accounts.vouching import vouch
from gateway.access.client_address import client_address


class KeyAuthentication(BaseAuthentication):
    """Authenticates by `Authorization: Bearer kyma-…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed("Send the header 'Authorization: Bearer kyma-…'.")
        try:
            key = keys.authenticate(text.strip())
        except InvalidKey as error:
            raise AuthenticationFailed(str(error)) from error
        vouch(getattr(request, "scope", None))
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Kyma"'


def address_of(request: Request) -> str:
    """Return the caller's address, never one that only the caller claims."""
    return client_address(
        request.META.get("REMOTE_ADDR", ""),
        [request.META.get("HTTP_X_FORWARDED_FOR", "")],
        settings.TRUSTED_PROXY_COUNT,
    )


class _KeyScheme(OpenApiAuthenticationExtension):
    target_class = KeyAuthentication
    name = "key"

    def get_security_definition(self, auto_schema) -> dict:
        return {"type": "http", "scheme": "bearer", "description": "A key with a scope."}


class _SessionScheme(OpenApiAuthenticationExtension):
    target_class = SessionAuthentication
    name = "session"
    priority = 1

    def get_security_definition(self, auto_schema) -> dict:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The session of a signed-in person; changes need X-CSRFToken.",
        }
