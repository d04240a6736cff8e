"""Functions and files that can be read at once, under names that say what is in them."""

import fnmatch

from tests.support.sources import LAYERS, ROOT, files, functions, name_of

MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_FILE = 450
SAY_NOTHING = ("services", "utils", "helpers", "common", "managers", "misc", "base_*")

ALL = [*files(*LAYERS, "tests", "benchmarks"), ROOT / "manage.py"]


def test_no_function_is_too_long():
    long = [
        f"{name_of(path)}:{function.lineno} {function.name}"
        for path in ALL
        for function in functions(path)
        if function.end_lineno - function.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    ]
    assert long == []


def test_no_file_is_too_long():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in ALL}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FILE} == {}


def test_every_module_is_named_for_its_subject():
    wrong = [
        name_of(path)
        for path in ALL
        for part in path.relative_to(ROOT).with_suffix("").parts
        if any(fnmatch.fnmatch(part, pattern) for pattern in SAY_NOTHING)
    ]
    assert wrong == []
