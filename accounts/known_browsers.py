"""The browsers that a person has signed in with before, remembered by the browsers themselves.

A cookie holds a mark for each person who signed in there; nothing is stored here. A mark names
nobody and can't be made without the secret key. It is void once the password has changed: a browser
that was used with the old one counts as new again.

Wrong passwords from a known browser are counted in a bucket of their own, one for all browsers of
the person. So strangers who try passwords lock out each other, not the person. A browser without
a mark is answered in the same way for every address, whether there is an account or not.
"""

from django.conf import settings
from django.http import HttpRequest
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


def cookie_of(request: HttpRequest) -> str:
    return request.COOKIES.get(settings.KNOWN_BROWSER_COOKIE_NAME, "")


def bucket(request: HttpRequest, address: str) -> str | None:
    """Return the name of the bucket for wrong passwords from this browser for `address`.

    None if the browser isn't known to the person with this address, or if there is no such person.
    """
    cookie = cookie_of(request)
    if not _marks(cookie):
        return None
    user = User.objects.filter(email=address.strip().lower()).first()
    return _mark(user) if user and knows(cookie, user) else None


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
