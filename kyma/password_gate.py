"""Lets few requests that hash a password into Django at once. The others wait outside.

Django gives each request a thread. Sixty threads that wait for a turn to hash (accounts/hashing.py)
would all wake at once, and health checks and streams would compete with them for the interpreter.
Here a request that waits is a coroutine. After too long a wait it is let in to be refused: the page
says so, and keeps what was typed.
"""

import asyncio

from django.conf import settings

from accounts import hashing

PATHS = (
    *("/accounts/login/", "/accounts/signup/"),
    *("/accounts/reauthenticate/", "/accounts/password/"),
)
# Beside those that hash, some get ready for it or show the page that follows.
INSIDE = settings.PASSWORD_HASHES_AT_ONCE + 2
REFUSED_AT_ONCE = 2


class Gate:
    def __init__(self, application) -> None:
        self._application = application
        self._places = asyncio.Semaphore(INSIDE)
        self._refusals = asyncio.Semaphore(REFUSED_AT_ONCE)

    async def __call__(self, scope, receive, send) -> None:
        if scope["method"] != "POST" or not scope["path"].startswith(PATHS):
            await self._application(scope, receive, send)
            return
        try:
            await asyncio.wait_for(self._places.acquire(), settings.PASSWORD_HASH_WAIT_S)
        except TimeoutError:
            async with self._refusals:
                with hashing.refused():
                    await self._application(scope, receive, send)
            return
        try:
            await self._application(scope, receive, send)
        finally:
            self._places.release()
