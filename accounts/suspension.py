"""Suspended accounts, and those that are being erased: what they can still do.

Signing out and every public page work; all else answers 403 with a page that says why. /api/
refuses by itself, in its own form: its views are open to the middleware as they are to who isn't
signed in.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import User

PAGES = {
    User.State.SUSPENDED: "account/suspended.html",
    User.State.ERASING: "account/erasing.html",
}


def suspend(user: User) -> bool:
    """Close an active account to its owner; whether it was active. The gateway refuses its keys."""
    return _move(user, User.State.ACTIVE, User.State.SUSPENDED)


def restore(user: User) -> bool:
    """Open a suspended account again; whether it was suspended."""
    return _move(user, User.State.SUSPENDED, User.State.ACTIVE)


def _move(user: User, old: User.State, new: User.State) -> bool:
    moved = bool(User.objects.filter(pk=user.pk, state=old).update(state=new))
    if moved:
        user.state = new
    return moved


class SuspensionMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view, args, kwargs) -> HttpResponse | None:
        state = getattr(request.user, "state", User.State.ACTIVE)
        if state == User.State.ACTIVE or not getattr(view, "login_required", True):
            return None
        return render(request, PAGES[state], status=403)
