"""Asks a signed-in person to confirm with the password or second factor that it is them."""

from allauth.account.decorators import reauthentication_required
from allauth.core.exceptions import ReauthenticationRequired
from django.urls import reverse
from rest_framework.request import Request

from gateway.errors import Forbidden


@reauthentication_required
def _recently_confirmed(request) -> None:
    return


def require(request: Request) -> None:
    """Raise Forbidden unless the person has confirmed it a short while ago. Keys needn't."""
    if request.auth is not None:
        return
    try:
        _recently_confirmed(request._request)
    except ReauthenticationRequired:
        raise Forbidden(
            "A key with scopes outlives your session, so confirm first that it is you: open "
            f"{reverse('account_reauthenticate')} in this browser, then ask again.",
            code="reauthentication_required",
        ) from None
