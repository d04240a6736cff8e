"""Suspended accounts and accounts being erased: what their owners can still do.

Signing out and every public page work. All other pages answer 403 and say why. The views of /api/
are public to this middleware: they refuse such accounts themselves, in their own form.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import User

PAGES = {
    User.State.SUSPENDED: "account/suspended.html",
    User.State.ERASING: "account/erasing.html",
}


def suspend(user: User) -> bool:
    """Suspend an active account. The gateway then refuses its keys. False if it wasn't active."""
    return _move(user, User.State.ACTIVE, User.State.SUSPENDED)


def restore(user: User) -> bool:
    """Make a suspended account active. False if it wasn't suspended."""
    return _move(user, User.State.SUSPENDED, User.State.ACTIVE)


def _move(user: User, old: User.State, new: User.State) -> bool:
    moved = bool(User.objects.filter(pk=user.pk, state=old).update(state=new))
    if moved:
        user.state = new
    return moved


class SuspensionMiddleware:
    """Stands at the end of MIDDLEWARE, so that its pages have everything that other pages have."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view, args, kwargs) -> HttpResponse | None:
        state = getattr(request.user, "state", User.State.ACTIVE)
        if state == User.State.ACTIVE or not getattr(view, "login_required", True):
            return None
        return render(request, PAGES[state], status=403)
