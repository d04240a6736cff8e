"""`except Exception` stands only at the outermost edges, each of them named here."""

import ast
from pathlib import Path

from tests.support.sources import LAYERS, files, functions, name_of

EDGES = {
    "chat/turns.py: _note_fault_of",  # what a turn ends with
    "gateway/untrusted/child.py: _result",  # A lexer, of hostile text.
    "gateway/v1/handler.py: __call__",  # what an HTTP connection ends with
    "gateway/v1/handler.py: _respond",  # what an HTTP request ends with
    "gateway/commits/queue.py: _write",  # the writer outlives whatever a batch does
    "gateway/commits/queue.py: _free",  # and whatever a probe for locked accounts does
    "gateway/serving/completions.py: proceed",  # a fault of ours must not leave a hold
    "gateway/commits/sqlite.py: _outcome",  # told to the loop, which waits for it
    "gateway/access/token_buckets.py: _answers",  # those who share a call must not wait for ever
    "kyma/connections/connection.py: end_overdue",  # one connection must not keep the others
    # Another program, with edges of its own.
    "kyma/machine/local_provider/answers.py: send_stream",
    "kyma/machine/local_provider/app.py: errors_as_json",
}
EVERYTHING = {"Exception", "BaseException"}


def handlers_of_everything(path: Path) -> set[str]:
    """The functions of `path` that catch everything and don't raise it again."""
    return {
        f"{name_of(path)}: {function.name}"
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node)
    }


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(one, ast.Name) and one.id in EVERYTHING for one in caught)


def test_only_the_edges_catch_everything():
    found = set().union(*(handlers_of_everything(path) for path in files(*LAYERS)))
    assert found - EDGES == set()


def test_every_edge_that_is_named_is_there():
    found = set().union(*(handlers_of_everything(path) for path in files(*LAYERS)))
    assert EDGES - found == set()


def test_nothing_is_suppressed_wholesale():
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in files(*LAYERS)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("suppress")
        and any(isinstance(one, ast.Name) and one.id in EVERYTHING for one in node.args)
    ]
    assert wrong == []


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())
