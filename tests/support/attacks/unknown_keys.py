"""A stream of keys that have the form of keys and don't exist."""

import secrets
import string

from accounts import keys
from tests.support.attacks.sockets import at_once, opened, until

AT_ONCE = 20
ALPHABET = string.ascii_letters + string.digits


def made_up() -> str:
    """Return a text that only a look-up can tell from a key."""
    text = keys.PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(34))
    return text + keys._checksum(text)


def run(address: str, *, seconds: float) -> None:
    goes_on = until(seconds)

    def attack(_number: int) -> None:
        one = None
        while goes_on():
            if one is None:
                one = opened(address)
                continue
            try:
                one.sendall(_request())
                ended = not one.recv(65536)
            except OSError:
                ended = True
            if ended:
                one.close()
                one = None
        if one is not None:
            one.close()

    at_once(AT_ONCE, attack)


def _request() -> bytes:
    lines = ["GET /v1/key HTTP/1.1", "Host: localhost", f"Authorization: Bearer {made_up()}"]
    return "\r\n".join([*lines, "", ""]).encode()
