"""Plain sockets and threads for attacks."""

import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

TIMEOUT_S = 2.0


def opened(address: str, *parts: bytes) -> socket.socket | None:
    """Return a new connection on which `parts` were sent, or None if that failed."""
    place = urlsplit(address)
    try:
        one = socket.create_connection((place.hostname, place.port), TIMEOUT_S)
    except OSError:
        return None
    try:
        for part in parts:
            one.sendall(part)
    except OSError:
        one.close()
        return None
    return one


def has_ended(one: socket.socket) -> bool:
    """Return True if the server has ended the connection. Drops what it has sent."""
    one.settimeout(0)
    try:
        while one.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def post(path: str, *headers: str) -> bytes:
    """Return the head of a request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def at_once(count: int, attack: Callable[[int], None]) -> None:
    """Run `attack` in threads, each with its number."""
    threads = [threading.Thread(target=attack, args=(number,)) for number in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def until(seconds: float) -> Callable[[], bool]:
    """Return a function that is True until the time is over."""
    end_at = time.monotonic() + seconds
    return lambda: time.monotonic() < end_at


def hold(kinds: list[Callable[[], socket.socket | None]], *, seconds: float) -> None:
    """Keep one connection of each kind open, and open another when the server ends it."""
    goes_on = until(seconds)
    held: list[socket.socket | None] = [None] * len(kinds)
    try:
        while goes_on():
            for place, open_one in enumerate(kinds):
                one = held[place]
                if one is not None and has_ended(one):
                    one.close()
                    one = None
                if one is None:
                    held[place] = open_one()
            time.sleep(0.1)
    finally:
        for one in held:
            if one is not None:
                one.close()
