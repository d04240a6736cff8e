"""JSON that costs much to read: the dearest bodies of up to 10 MB, at each API.

The key must be valid, or nothing is read.
"""

import functools
import itertools

from tests.support.attacks.sockets import at_once, opened, post, until

AT_ONCE = 10
MOST_BYTES = 9_990_000
CHAT, MESSAGES, COUNT = "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"
RESPONSES, EMBEDDINGS, COMPLETIONS = "/v1/responses", "/v1/embeddings", "/v1/completions"
KEYS = "/v1/keys"

Kinds = dict[str, tuple[str, bytes]]

ASKED = b'{"model":"scripted","max_tokens":5,'


def _filled(start: bytes, piece: bytes, end: bytes, *, most: int = MOST_BYTES) -> bytes:
    """Return `start`, as many pieces as fit, and `end`."""
    count = (most - len(start) - len(end)) // (len(piece) + 1)
    return start + b",".join([piece] * count) + end


def _text(field: bytes, piece: bytes) -> bytes:
    start, end = ASKED + field, b'"}]}'
    return start + piece * ((MOST_BYTES - len(start) - len(end)) // len(piece)) + end


def _numbered(start: bytes, pattern: bytes, end: bytes, count: int) -> bytes:
    return start + b",".join(pattern % number for number in range(count)) + end


USER = b'"messages":[{"role":"user","content":"'
BLOCKS = b'"messages":[{"role":"user","content":['
MESSAGE = b'{"role":"user","content":"%b"}' % (b"hi " * 25)
BLOCK, PART = b'{"type":"text","text":"a"}', b'{"type":"input_text","text":"a"}'
WITHIN = 2_500_000  # bytes of blocks or parts: as many objects as are taken
SPACED = ASKED.replace(b":", b": ")
PICTURE = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,'
SCHEMA = (
    b'x"}],"tools":[{"type":"function","function":{"name":"a","parameters":{"type":"object",'
    b'"properties":{'
)


def _texts() -> Kinds:
    return {
        "one text": (CHAT, _text(USER, b"x")),
        "a text of escapes": (CHAT, _text(USER, b"\\u4e2d")),
        "a text of quotes": (CHAT, _text(USER, b'\\"')),
        "a text of commas": (CHAT, _text(USER, b"1234,")),
        "a text with one emoji": (CHAT, _text(USER + "😀".encode(), b"x")),
        "a text to be counted": (COUNT, _text(USER, b"\\u4e2d")),
        "a picture": (CHAT, _filled(ASKED + BLOCKS + PICTURE, b"iVBO" * 2_000_000, b'"}}]}]}')),
    }


def _structures() -> Kinds:
    return {
        "many messages": (CHAT, _filled(ASKED + b'"messages":[', MESSAGE, b"]}")),
        "many blocks": (CHAT, _filled(ASKED + BLOCKS, BLOCK, b"]}]}", most=WITHIN)),
        "too many blocks": (CHAT, _filled(ASKED + BLOCKS, BLOCK, b"]}]}")),
        "many keys": (CHAT, _numbered(ASKED, b'"%x":1', b"}", 190_000)),
        "too many keys": (CHAT, _numbered(ASKED, b'"%x":1', b"}", 880_000)),
        "a key twice": (CHAT, _numbered(SPACED, b'"%x":1', b',"model":"x"}', 190_000)),
        "many fractions": (CHAT, _filled(ASKED + b'"x":[', b"1.5", b"]}", most=1_500_000)),
        "too many fractions": (CHAT, _filled(ASKED + b'"x":[', b"1.5", b"]}")),
        "spaced integers": (CHAT, _filled(SPACED + b'"x":[', b"12", b"]}", most=1_150_000)),
        "deep lists": (CHAT, _filled(ASKED + b'"x":[', b"[" * 62 + b"]" * 62, b"]}")),
        "empty lists": (CHAT, _filled(ASKED + b'"x":[', b"[]", b"]}")),
        "a large schema": (
            CHAT,
            _numbered(ASKED + USER + SCHEMA, b'"a%d":{"type":"string"}', b"}}}}]}", 90_000),
        ),
    }


def _other_apis() -> Kinds:
    inputs, prompts = b'{"model":"scripted","input":[', ASKED + b'"prompt":['
    parts = ASKED + b'"input":[{"role":"user","content":['
    return {
        "messages of Messages": (MESSAGES, _filled(ASKED + b'"messages":[', MESSAGE, b"]}")),
        "blocks of Messages": (MESSAGES, _filled(ASKED + BLOCKS, BLOCK, b"]}]}", most=WITHIN)),
        "blocks to be counted": (COUNT, _filled(ASKED + BLOCKS, BLOCK, b"]}]}", most=WITHIN)),
        "items of Responses": (RESPONSES, _filled(ASKED + b'"input":[', MESSAGE, b"]}")),
        "parts of Responses": (RESPONSES, _filled(parts, PART, b"]}]}", most=WITHIN)),
        "tokens to embed": (EMBEDDINGS, _filled(inputs, b"12", b"]}", most=1_150_000)),
        "too many tokens": (EMBEDDINGS, _filled(inputs, b"1", b"]}")),
        "tokens to complete": (COMPLETIONS, _filled(prompts, b"12", b"]}", most=1_150_000)),
        "fractions for a key": (KEYS, _filled(b'{"name":[', b"1.5", b"]}")),
    }


@functools.cache
def bodies() -> Kinds:
    """Return path and body of each kind. What is refused is here too: refusing has a cost."""
    return _texts() | _structures() | _other_apis()


def run(address: str, *, seconds: float, key: str, kinds: tuple[str, ...] = ()) -> None:
    """Send bodies of these kinds, or of all, ten at once."""
    goes_on = until(seconds)
    chosen = [bodies()[kind] for kind in kinds or bodies()]

    def attack(number: int) -> None:
        for path, body in itertools.cycle(chosen[number:] + chosen[:number]):
            if not goes_on():
                return
            head = post(
                path,
                f"Authorization: Bearer {key}",
                "Content-Type: application/json",
                "Connection: close",
                f"Content-Length: {len(body)}",
            )
            one = opened(address, head, body)
            if one is None:
                continue
            try:
                one.settimeout(30)
                while one.recv(65536):
                    pass
            except OSError:
                pass
            finally:
                one.close()

    at_once(AT_ONCE, attack)
