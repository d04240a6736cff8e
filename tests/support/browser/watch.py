"""What goes wrong in a browser unseen: errors in its console, and requests to other hosts.

A violation of the content security policy is an error in the console too.
"""

import re
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext

HARMLESS_SCHEMES = ("data", "blob", "about")
DEADLINE_S = 20
POLL_MS = 20


class Watch:
    """Collects the `problems` of all pages of one browser context."""

    def __init__(self, context: BrowserContext, site_url: str):
        self.problems: list[str] = []
        self._context = context
        self._site = urlsplit(site_url).netloc
        context.on("console", self._hear)
        context.on("weberror", lambda error: self._add(f"script failed: {error.error}"))
        context.on("request", self._see)

    @contextmanager
    def allowing(self, pattern: str):
        """Inside, something goes wrong that matches `pattern`: waited for, and forgiven."""
        before = len(self.problems)
        yield
        deadline = time.monotonic() + DEADLINE_S
        while not self._matching(pattern, before):
            new = self.problems[before:]
            assert time.monotonic() < deadline, f"nothing went wrong like {pattern!r}: {new}"
            self._context.pages[0].wait_for_timeout(POLL_MS)
        forgiven = self._matching(pattern, before)
        self.problems = [problem for problem in self.problems if problem not in forgiven]

    def _matching(self, pattern: str, start: int) -> list[str]:
        return [problem for problem in self.problems[start:] if re.search(pattern, problem)]

    def _hear(self, message) -> None:
        if message.type == "error":
            self._add(f"console: {message.text} ({message.location.get('url')})")

    def _see(self, request) -> None:
        url = urlsplit(request.url)
        if url.netloc != self._site and url.scheme not in HARMLESS_SCHEMES:
            self._add(f"request to another host: {request.url}")

    def _add(self, problem: str) -> None:
        self.problems.append(problem)
