"""Asks each person once which providers may answer (P7), before the first page of the dashboard.

So every key is made, and every chat begun, by a person who was asked. A key of a person who never
answered works, with providers that keep nothing. Public pages, the pages for signing in and
security, and the admin don't ask; /api/ is public to this middleware.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

QUIET_APPS = ("accounts", "allauth", "django")


def asks_nothing(view: Callable) -> Callable:
    """Mark a view whose page is shown to people who haven't chosen yet."""
    view.asks_nothing = True  # type: ignore[attr-defined]
    return view


class ProviderChoiceMiddleware:
    """Stands after SuspensionMiddleware: a suspended person is asked nothing."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view, args, kwargs) -> HttpResponse | None:
        if request.method not in ("GET", "HEAD") or not _lacks_choice(request) or _is_quiet(view):
            return None
        if "HX-Request" in request.headers:  # A part of a page: let the whole page ask.
            return HttpResponse(status=409, headers={"HX-Refresh": "true"})
        address = reverse("choose_providers")
        return redirect(f"{address}?{urlencode({'next': request.get_full_path()})}")


def _lacks_choice(request: HttpRequest) -> bool:
    return request.user.is_authenticated and not request.user.provider_choice


def _is_quiet(view: Callable) -> bool:
    return (
        not getattr(view, "login_required", True)
        or getattr(view, "asks_nothing", False)
        or view.__module__.split(".")[0] in QUIET_APPS
    )
