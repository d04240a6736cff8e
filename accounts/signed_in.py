"""Makes every page require a signed-in person, unless its view says `login_not_required`."""

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from accounts.vouching import vouch


class SignedInRequest(HttpRequest):
    """The request of a private page, which always has a user thanks to `SignedInMiddleware`."""

    user: User


class SignedInMiddleware(LoginRequiredMiddleware):
    def process_view(self, request, view_func, view_args, view_kwargs):
        if request.user.is_authenticated:
            vouch(getattr(request, "scope", None))
        return super().process_view(request, view_func, view_args, view_kwargs)

    def handle_no_permission(self, request, view_func):
        """Make htmx reload the page. It would put the sign-in page inside a part of this one."""
        if "HX-Request" in request.headers:
            return HttpResponse(status=401, headers={"HX-Refresh": "true"})
        return super().handle_no_permission(request, view_func)
