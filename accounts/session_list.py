"""Lists the sessions in which a person is signed in, and ends them.

The address and the browser of a session lie in `data`, sealed under the person's key. allauth's
own columns for them would be readable, so they are blanked.
"""

import base64
import json

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.encryption import Cipher
from accounts.errors import SealBroken
from accounts.keyring import data_keys
from accounts.models import User

NOWHERE = "::"

# The first match counts, because most browsers claim to be others too.
_BROWSERS = (
    *(("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("HeadlessChrome/", "Chrome")),
    *(("Chrome/", "Chrome"), ("CriOS/", "Chrome"), ("FxiOS/", "Firefox"), ("Safari/", "Safari")),
)
_SYSTEMS = (
    *(("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad")),
    *(("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)


def purge() -> int:
    """Delete the sessions that have ended, and their rows in the list. Returns how many rows."""
    Session.objects.filter(expire_date__lte=timezone.now()).delete()
    return UserSession.objects.filter(~_is_alive()).delete()[0]


def seal(sender, instance: UserSession, **kwargs) -> None:
    """Move address and browser of a row into its sealed data, before the row is saved."""
    if instance.ip == NOWHERE:
        return
    plain = json.dumps({"ip": instance.ip, "user_agent": instance.user_agent}).encode()
    sealed = data_keys.cipher_of(instance.user_id).seal(plain, _place(instance))
    instance.data = {"sealed": base64.b64encode(sealed).decode()}
    instance.ip, instance.user_agent = NOWHERE, ""


def of(user: User) -> list[UserSession]:
    """Return the sessions of `user`, the newest first. Each describes its `browser` in words."""
    sessions = list(UserSession.objects.filter(user=user).order_by("-created_at"))
    cipher = data_keys.cipher_of(user.id)
    for session in sessions:
        _open(session, cipher)
        session.browser = describe(session.user_agent)
    return sessions


def end_others(user: User, *, current: str | None) -> int:
    """End all sessions of `user` except the one with the key `current`. Returns how many lived."""
    others = UserSession.objects.filter(user=user).exclude(session_key=current)
    ended = list(others.annotate(was_alive=_is_alive()))
    for session in ended:
        session.end()
    return sum(session.was_alive for session in ended)


def _is_alive() -> Exists:
    return Exists(Session.objects.filter(session_key=OuterRef("session_key")))


def _open(session: UserSession, cipher: Cipher) -> None:
    try:
        sealed = base64.b64decode(session.data.get("sealed", ""))
        plain = json.loads(cipher.open(sealed, _place(session)))
    except SealBroken:
        plain = {"ip": "", "user_agent": ""}
    session.ip, session.user_agent = plain["ip"], plain["user_agent"]


def _place(session: UserSession) -> str:
    return f"usersessions.UserSession:{session.session_key}"


def describe(user_agent: str) -> str:
    """Return a phrase like "Firefox on Linux", or the text itself if it names no known browser."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if not browser:
        return user_agent or "unknown"
    return f"{browser} on {system}" if system else browser
