"""What ends a person's other sessions: a new password or address, and any change of second factors.

Whoever got in with what counted before is then out (ASVS 7.4.3). The session that made the change
goes on; after a reset, which nobody needs to be signed in for, none does.
"""

from allauth.account import signals as of_account
from allauth.mfa import signals as of_mfa
from django.contrib import messages
from django.http import HttpRequest

from accounts import session_list
from accounts.models import User

OTHERS_HAVE_ENDED = "All other sessions have ended."
ALL_HAVE_ENDED = "All sessions have ended: sign in with the new password."

_CHANGES = (
    *(of_account.password_changed, of_account.password_set, of_account.email_changed),
    *(of_mfa.authenticator_added, of_mfa.authenticator_removed, of_mfa.authenticator_reset),
)


def connect() -> None:
    for change in _CHANGES:
        change.connect(_end_others)
    of_account.password_reset.connect(_end_all)


def _end_others(sender, request: HttpRequest, user: User, **facts) -> None:
    if session_list.end_others(user, current=request.session.session_key):
        messages.success(request, OTHERS_HAVE_ENDED)


def _end_all(sender, request: HttpRequest, user: User, **facts) -> None:
    if session_list.end_others(user, current=None):
        messages.success(request, ALL_HAVE_ENDED)
