"""Celery tasks take ids: what a broker holds says nothing, and is never out of date."""

import ast

from tests.support.sources import files, functions, name_of

DECORATORS = ("shared_task", "task")


def tasks():
    for path in files():
        for function in functions(path):
            decorators = {ast.unparse(one).split("(")[0] for one in function.decorator_list}
            if any(one.split(".")[-1] in DECORATORS for one in decorators):
                yield path, function


def test_tasks_stand_in_modules_of_that_name():
    assert {path.name for path, _ in tasks()} == {"tasks.py"}


def test_tasks_take_only_ids():
    wrong = [
        f"{name_of(path)}:{function.lineno} {function.name}({argument})"
        for path, function in tasks()
        for argument in arguments(function)
        if argument != "self" and not argument.endswith(("_id", "_ids"))
    ]
    assert wrong == []


def test_tasks_are_thin():
    wrong = [
        f"{name_of(path)}:{function.lineno} {function.name}"
        for path, function in tasks()
        if function.end_lineno - function.lineno > 15
    ]
    assert wrong == []


def arguments(function: ast.FunctionDef) -> list[str]:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return [one.arg for one in [*named, given.vararg, given.kwarg] if one is not None]
