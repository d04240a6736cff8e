"""The browsers that a person has signed in with before, remembered by the browsers themselves.

A cookie holds a mark for each person who signed in there; nothing is stored here. A mark names
nobody and can't be made without the secret key. It is void once the password has changed: a browser
that was used with the old one counts as new again.
"""

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import User

AGE_S = 365 * 24 * 60 * 60
MOST = 8  # people who share a browser
_SALT = "accounts.known_browsers"
_MARK_LENGTH = 32


def knows(cookie: str, user: User) -> bool:
    return any(constant_time_compare(mark, _mark(user)) for mark in _marks(cookie))


def remember(cookie: str, user: User) -> str:
    """Return the cookie with the mark of `user` as the newest."""
    others = [mark for mark in _marks(cookie) if mark != _mark(user)]
    return ".".join([_mark(user), *others][:MOST])


def set_cookie(response, value: str) -> None:
    response.set_cookie(
        settings.KNOWN_BROWSER_COOKIE_NAME,
        value,
        max_age=AGE_S,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _marks(cookie: str) -> list[str]:
    return [mark for mark in cookie.split(".")[:MOST] if len(mark) == _MARK_LENGTH]


def _mark(user: User) -> str:
    return salted_hmac(_SALT, user.password, algorithm="sha256").hexdigest()[:_MARK_LENGTH]
