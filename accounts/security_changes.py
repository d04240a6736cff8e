"""Ends a person's other sessions after a new password, a new address or a new second factor.

An intruder is out then, because the old secret no longer counts (ASVS 7.4.3). Each change begins
an epoch, and sessions of an earlier epoch are void, even those stored later. A sign-in that waits
for its second factor meanwhile has to start over (`accounts/adapter.py`).

The session that made the change goes on. After a reset, which needs no session, none goes on,
because no session outlives the password that it began with.
"""

from allauth.account import signals as of_account
from allauth.mfa import signals as of_mfa
from django.contrib import messages
from django.contrib.auth import HASH_SESSION_KEY
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest

from accounts import session_list
from accounts.models import User

OTHERS_HAVE_ENDED = "All other sessions have ended."
ALL_HAVE_ENDED = "All sessions have ended: sign in with the new password."

_CHANGES = (
    *(of_account.password_changed, of_account.password_set),
    *(of_mfa.authenticator_added, of_mfa.authenticator_removed, of_mfa.authenticator_reset),
)


def connect() -> None:
    for change in _CHANGES:
        change.connect(_end_others)
    of_account.email_changed.connect(_end_others_but_at_the_first_address)
    of_account.password_reset.connect(_end_all)


def _end_others(sender, request: HttpRequest, user: User, **facts) -> None:
    begin_epoch(user)
    request.session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    if session_list.end_others(user, current=request.session.session_key):
        messages.success(request, OTHERS_HAVE_ENDED)


def _end_others_but_at_the_first_address(sender, from_email_address, **facts) -> None:
    if from_email_address is not None:
        _end_others(sender, **facts)


def begin_epoch(user: User) -> None:
    """Make every earlier session of `user` void."""
    with transaction.atomic():  # So two changes at once get an epoch each.
        User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
        user.refresh_from_db(fields=["session_epoch"])


def _end_all(sender, request: HttpRequest, user: User, **facts) -> None:
    if session_list.end_others(user, current=None):
        messages.success(request, ALL_HAVE_ENDED)
