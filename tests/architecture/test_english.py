"""Docstrings and comments are plain sentences: the openers that make riddles are refused.

docs/decisions.md says how they read instead.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sources import files, name_of, tree

OPENERS = re.compile(
    r"(Who|What|Whoever|Whatever|Whether|Else|Such|None of"
    r"|Of (the|these|those|a|an|all)|Those (of|that|who|which)|That (of|which))\b"
)
WORDS = re.compile(r"\b(anew|tells?|told|telling)\b", re.IGNORECASE)
SENTENCE_ENDS = re.compile(r"(?<=[.:;?!])\s+|\n\n")


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree(path)):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Each comment with its first line; lines that follow each other are one comment."""
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        goes_on = line == last + 1 and token.line.lstrip().startswith("#")
        if block and not goes_on:
            yield first, " ".join(block)
            block = []
        first = first if block else line
        block.append(token.string.lstrip("#: "))
        last = line
    if block:
        yield first, " ".join(block)


def riddles(text: str) -> list[str]:
    sentences = (one.strip() for one in SENTENCE_ENDS.split(text))
    return [one for one in sentences if OPENERS.match(one) or WORDS.search(one)]


@pytest.mark.parametrize(
    "text",
    [
        "Who names no limit wants a short answer.",
        "Whether nothing more is to be waited for.",
        "Those of these replies that aren't as they are known.",
        "The account is made anew.",
        "The provider said no. Else the next is asked.",
    ],
)
def test_a_riddle_is_noticed(text):
    assert riddles(text)


def test_a_plain_sentence_passes():
    assert not riddles("True when followers can stop waiting. A caller who sets no limit pays.")


def test_docstrings_and_comments_are_plain_sentences():
    found = [
        f"{name_of(path)}:{line}: {sentence}"
        for path in files()
        for line, text in (*docstrings(path), *comments(path))
        for sentence in riddles(text)
    ]
    if found:
        pytest.fail(
            "Begin with the subject or a verb, say who acts, and use say, return or raise for "
            "tell:\n" + "\n".join(found)
        )
