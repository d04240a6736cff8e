"""Imports files of 19 MB, two at once, that take many times their size when they are parsed."""

from collections import Counter

import requests

from tests.support.attacks.visits import LONGEST_ANSWER_S, again_and_again

SIZE, THREADS = 19_000_000, 2


def _filled(head: bytes, part: bytes, tail: bytes) -> bytes:
    return head + part * ((SIZE - len(head) - len(tail)) // len(part)) + tail


_HI = b'{"role":"user","content":"Hi"},'
_LONG = '{"role":"user","content":"😀' + "x" * 900_000 + '"},'
FILES = (
    _filled(b'{"messages":[', b"{},", b"{}]}"),
    _filled(b'{"messages":[{"role":"user","content":"Hi","x":[', b"[],", b"1]}]}"),
    _filled(b'{"messages":[', _HI, _HI[:-1] + b"]}"),
    _filled(b'{"messages":[', _LONG.encode(), _HI[:-1] + b"]}"),  # It can be imported.
    _filled(b"# A chat\n\n## User\n\n", b"ab\n", b""),
    _filled(b"# A chat\n", b"\n## User\n\na\n", b""),
    _filled(b"[", b"[", b""),
)


def run(address: str, *, seconds: float, session: str) -> Counter[int]:
    def send(client: requests.Session, number: int) -> requests.Response:
        return client.post(
            f"{address}/chat/import",
            files={"file": ("chats", FILES[number % len(FILES)])},
            timeout=LONGEST_ANSWER_S,
            allow_redirects=False,
        )

    return again_and_again(send, seconds=seconds, session=session, threads=THREADS)
