"""A job is started by the clock or by another job, never by a request.

So no request waits for the broker: what it wants done it writes down as a row, which a job finds.
"""

import ast

from tests.support.sources import LAYERS, files, name_of

STARTING = {"delay", "apply_async", "send_task"}
JOBS = "tasks.py"


def test_only_jobs_start_jobs():
    others = [path for path in files(*LAYERS) if path.name != JOBS]
    starting = [
        f"{name_of(path)}:{node.lineno}"
        for path in others
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr in STARTING
    ]
    assert starting == []
