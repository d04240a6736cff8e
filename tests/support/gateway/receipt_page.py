"""The examples of docs/receipts.md, to be run as they stand there."""

import re

from tests.support.live import ROOT

PAGE = ROOT / "docs" / "receipts.md"


def example(name: str) -> str:
    """The code that follows the mark `<!-- name -->`."""
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"docs/receipts.md has no example named {name}"
    return found[1]


def functions_of(name: str) -> dict:
    """What the example defines."""
    defined: dict = {}
    exec(compile(example(name), str(PAGE), "exec"), defined)
    return defined
