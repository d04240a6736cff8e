"""Every page is for who is signed in, unless its view says `login_not_required`."""

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse

from accounts.models import User


class SignedInRequest(HttpRequest):
    """What a private page is given: `SignedInMiddleware` lets nobody else through."""

    user: User


class SignedInMiddleware(LoginRequiredMiddleware):
    def handle_no_permission(self, request, view_func):
        """htmx would put the page to sign in where a part of a page belongs."""
        if "HX-Request" in request.headers:
            return HttpResponse(status=401, headers={"HX-Refresh": "true"})
        return super().handle_no_permission(request, view_func)
