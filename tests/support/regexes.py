"""The regular expressions of product code, found by reading its syntax trees."""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.sources import files, name_of, tree

OF_RE = {
    *("compile", "match", "search", "sub", "subn", "fullmatch", "split", "findall", "finditer"),
    "template",
}
# Others that take an expression first; `matching` is gateway/wire/checks.py's.
TAKERS = {"RegexValidator", "RegexField", "re_path", "matching", "register_converter"}


LONGEST_SHOWN = 35  # characters of an expression; a longer one ends with a digest


@dataclass(frozen=True)
class Found:
    place: str  # file: expression, as it is evaluated or as the code writes it
    line: int
    compiled: re.Pattern | None  # None if only the running program knows it


def found() -> Iterator[Found]:
    for path in files():
        yield from _in_file(path)


def _in_file(path: Path) -> Iterator[Found]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "re":
            yield Found(f"{name_of(path)}: from re import", node.lineno, None)
        elif isinstance(node, ast.Call):
            if _takes_an_expression(node.func) and node.args:
                yield _found(path, node)
            for keyword in node.keywords:
                if keyword.arg and keyword.arg.endswith(("__regex", "__iregex")):
                    yield Found(f"{name_of(path)}: {keyword.arg}", node.lineno, None)


def _takes_an_expression(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        is_re = isinstance(function.value, ast.Name) and function.value.id == "re"
        return function.attr in (OF_RE if is_re else TAKERS)
    return isinstance(function, ast.Name) and function.id in TAKERS


def _found(path: Path, call: ast.Call) -> Found:
    expression = _evaluated(call.args[0], path)
    if not isinstance(expression, str | bytes):
        return Found(f"{name_of(path)}: {ast.unparse(call.args[0])}", call.lineno, None)
    flags = re.NOFLAG
    for one in (*call.args[1:], *(one.value for one in call.keywords if one.arg == "flags")):
        value = _evaluated(one, path)
        flags |= value if isinstance(value, re.RegexFlag) else re.NOFLAG
    shown = expression if isinstance(expression, str) else expression.decode("latin-1")
    short = " ".join(shown.split())
    short = "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in short)
    if len(short) > LONGEST_SHOWN:
        digest = hashlib.sha256(short.encode()).hexdigest()
        short = f"{short[:LONGEST_SHOWN]}… {digest[:8]}"
    return Found(f"{name_of(path)}: {short}", call.lineno, re.compile(expression, flags))


def _evaluated(node: ast.expr, path: Path) -> str | bytes | re.RegexFlag | None:
    """A literal, a flag, a joined list of literals, or a constant of the module; else nothing."""
    constants = {
        target.id: one.value
        for one in tree(path).body
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name) and isinstance(one.value, ast.Constant)
    }
    values = {name: constant.value for name, constant in constants.items()}
    try:
        code = compile(ast.Expression(node), str(path), "eval")
        return eval(code, {"re": re, "__builtins__": {}}, values)
    except (NameError, TypeError, AttributeError):
        return None
