"""The rights of a caller: a signed-in person may do everything, a key what its scopes allow."""

from ipaddress import ip_network

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.models import ApiKey
from gateway.access import rules as key_rules
from gateway.errors import Forbidden
from kyma.api.authentication import address_of


class HasScope(BasePermission):
    """Admits callers with an active account and the scope of the view.

    A view without a scope is public. Raises Forbidden.
    """

    def has_permission(self, request: Request, view) -> bool:
        if view.scope is None:
            return True
        if not request.user.is_authenticated:
            return False
        key_rules.check_state(request.user.state)
        if request.auth is not None:
            _check_key(request.auth, address_of(request), view.scope)
        return True


def _check_key(key: ApiKey, address: str, scope: str) -> None:
    key_rules.check_networks([ip_network(one) for one in key.allowed_networks], address)
    if key.is_management:
        raise Forbidden(key_rules.MANAGEMENT_ONLY, code="management_key")
    if scope not in key.scopes:
        raise Forbidden(
            f"This key lacks the scope `{scope}`. Add it on the key's page, or use another key.",
            code="missing_scope",
            metadata={"missing_scope": str(scope)},
        )
