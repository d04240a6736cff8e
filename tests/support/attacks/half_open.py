"""Connections that never become requests: silent ones, half heads, half bodies."""

from functools import partial

from tests.support.attacks.sockets import hold, opened, post

SILENT, HALF_HEADS, HALF_PAGE_BODIES, HALF_MODEL_BODIES = 50, 200, 50, 20
FORM = "Content-Type: application/x-www-form-urlencoded"
WRONG_KEY = "Authorization: Bearer kyma-wrong"
HALF_HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Half: "
HALF_FORM = post("/accounts/login/", FORM, "Content-Length: 60000") + b"login=half"
HALF_MODEL = post("/v1/chat/completions", WRONG_KEY, "Content-Length: 9000000") + b'{"model": '


def run(address: str, *, seconds: float) -> None:
    counts = {
        b"": SILENT,
        HALF_HEAD: HALF_HEADS,
        HALF_FORM: HALF_PAGE_BODIES,
        HALF_MODEL: HALF_MODEL_BODIES,
    }
    kinds = [partial(opened, address, half) for half, count in counts.items() for _ in range(count)]
    hold(kinds, seconds=seconds)
