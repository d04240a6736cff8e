"""Highlights code of strangers, in the helper process. Code that takes too long stays plain."""

import hashlib
from collections.abc import Iterable, Sequence

from gateway.untrusted.helper import Results, answered, answered_soon, helper
from gateway.untrusted.languages import HIGHLIGHTED

MOST_CHARACTERS = 20_000  # of a block; a longer one stays plain
MOST_BLOCKS = 200  # of one page; those before stay plain
_MOST_REMEMBERED = 10_000

Code = tuple[str, str]  # language and text
Highlighted = dict[Code, str]  # as HTML

# Digests of code that took too long or broke its lexer, so that nobody waits for it twice.
_failed: set[bytes] = set()


def highlight(codes: Iterable[Code]) -> Highlighted:
    """Return the HTML of those `codes` that could be highlighted. Blocks its thread for a while."""
    wanted = _wanted(codes)
    return _by_code(wanted, answered(helper.ask("highlight", wanted))) if wanted else {}


async def highlight_soon(codes: Iterable[Code]) -> Highlighted:
    """Return the HTML of those `codes` that could be highlighted."""
    wanted = _wanted(codes)
    if not wanted:
        return {}
    return _by_code(wanted, await answered_soon(helper.ask("highlight", wanted)))


def _wanted(codes: Iterable[Code]) -> list[Code]:
    """Return each of `codes` that is worth a try, without doubles: the last ones if many are."""
    wanted = [code for code in dict.fromkeys(codes) if may_be_highlighted(code)]
    return wanted[-MOST_BLOCKS:]


def may_be_highlighted(code: Code) -> bool:
    language, text = code
    return language in HIGHLIGHTED and len(text) <= MOST_CHARACTERS and _digest(code) not in _failed


def _by_code(wanted: Sequence[Code], results: Results) -> Highlighted:
    for index, html in results.items():
        if html is None:
            _remember_failed(wanted[index])
    return {wanted[index]: html for index, html in results.items() if html is not None}


def _remember_failed(code: Code) -> None:
    if len(_failed) >= _MOST_REMEMBERED:
        _failed.clear()
    _failed.add(_digest(code))


def _digest(code: Code) -> bytes:
    return hashlib.sha256("\0".join(code).encode()).digest()
