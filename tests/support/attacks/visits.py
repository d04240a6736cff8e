"""Signed-in visits over HTTP, again and again for some time, from several threads."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import requests
from django.conf import settings
from django.test import Client

from accounts.models import User

_TOKEN = "t" * 32  # against cross-site requests: a cookie and a header that are the same
LONGEST_ANSWER_S = 60


def session_of(user: User) -> str:
    """The value of the cookie with which `user` is signed in."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def again_and_again(
    ask: Callable[[requests.Session, int], requests.Response],
    *,
    seconds: float,
    session: str,
    threads: int,
) -> Counter[int]:
    """How often each status was answered. `ask` gets a client and the number of the try."""
    ends_at = time.monotonic() + seconds
    answered: Counter[int] = Counter()

    def visit(first: int) -> None:
        number = first
        with requests.Session() as client:
            client.cookies.set(settings.SESSION_COOKIE_NAME, session)
            client.cookies.set("csrftoken", _TOKEN)
            client.headers["X-CSRFToken"] = _TOKEN
            while time.monotonic() < ends_at:
                try:
                    answered[ask(client, number).status_code] += 1
                except requests.RequestException:
                    answered[0] += 1
                number += threads

    visitors = [threading.Thread(target=visit, args=(first,)) for first in range(threads)]
    for one in visitors:
        one.start()
    for one in visitors:
        one.join()
    return answered
