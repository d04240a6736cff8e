"""Highlights code by Pygments. Runs only in the helper process: its lexers may take forever."""

import functools

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name

from gateway.untrusted.languages import HIGHLIGHTED

_formatter = HtmlFormatter(nowrap=True)


@functools.cache
def _lexer(language: str) -> Lexer:
    if language not in HIGHLIGHTED:
        raise LookupError(language)
    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


def load() -> None:
    """Load all lexers, so that no job waits for one."""
    for language in HIGHLIGHTED:
        _lexer(language)


def highlighted(language: str, code: str) -> str:
    """Return `code` as HTML with a `<span class=…>` around each token."""
    return highlight(code, _lexer(language), _formatter)
