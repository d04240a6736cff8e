"""Bounds what one address may occupy before its callers have shown a key or a session.

Directly at a client, its connections are counted. Behind trusted proxies all connections come from
the proxies, which bound them; there the requests in progress are counted, by the address that the
outermost proxy wrote. A neighbour in the same IPv6 /64 is the same client.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol

from django.conf import settings

from accounts.vouching import VOUCH
from gateway.access import client_address
from gateway.serving.exchange import FORWARDED_FOR


class Stranger(Protocol):
    @property
    def is_waiting(self) -> bool:
        """Return True if ending it breaks off no answer."""

    def end(self) -> None: ...


class Strangers:
    """The strangers of each client, the oldest first. Threads may remove them."""

    def __init__(self) -> None:
        self._of: dict[str, dict[Stranger, None]] = {}
        self._lock = threading.Lock()

    def add(self, client: str, stranger: Stranger) -> bool:
        """Count `stranger`. Returns False if its client has too many, all of them being served.

        Among too many the oldest that waits is ended, so that a flood of silent connections ends
        itself and not the requests of others at the same address.
        """
        surplus = None
        with self._lock:
            theirs = self._of.setdefault(client, {})
            if len(theirs) >= settings.CONNECTIONS_PER_ADDRESS:
                surplus = next((one for one in theirs if one.is_waiting), None)
                if surplus is None:
                    return False
                del theirs[surplus]
            theirs[stranger] = None
        if surplus is not None:
            surplus.end()
        return True

    def remove(self, client: str, stranger: Stranger) -> None:
        with self._lock:
            theirs = self._of.get(client, {})
            theirs.pop(stranger, None)
            if not theirs:
                self._of.pop(client, None)


class Request:
    """A request of a stranger behind proxies."""

    is_waiting = False

    def end(self) -> None:
        """Do nothing: no request in progress is ended for another."""


connections = Strangers()
_requests = Strangers()


def are_behind_proxies() -> bool:
    return settings.TRUSTED_PROXY_COUNT > 0


@contextlib.contextmanager
def counted(scope: dict) -> Iterator[bool]:
    """Count a request behind proxies while it is served. Yields False if it is one too many."""
    if not are_behind_proxies():
        yield True
        return
    peer, _ = scope.get("client") or ("", 0)
    forwarded = [
        value.decode("latin1") for name, value in scope["headers"] if name == FORWARDED_FOR
    ]
    address = client_address.client_address(peer, forwarded, settings.TRUSTED_PROXY_COUNT)
    client = client_address.client_of(address)
    request = Request()
    is_admitted = _requests.add(client, request)
    scope[VOUCH] = lambda: _requests.remove(client, request)
    try:
        yield is_admitted
    finally:
        _requests.remove(client, request)
