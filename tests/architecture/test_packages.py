"""A package imports only from the rows below its own, and no modules import in a circle.

The rows are drawn, with a line on each package, in docs/architecture.md.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sources import LAYERS, ROOT, files, imports, name_of

# The top row first. A name is a package or a module of the app.
ROWS = {
    "gateway": (
        ("pages",),
        ("v1", "tasks", "management", "admin", "apps"),
        ("serving", "analytics"),
        ("routing", "providers"),
        ("catalogue", "receipts", "log"),
        ("dialects", "keys"),
        ("commits", "access", "wire", "failures", "templatetags"),
        ("models", "errors", "short_cache", "database", "untrusted", "personal_data"),
    ),
    "chat": (
        ("pages", "tasks"),
        ("files",),
        # The rules, each a module; they may import each other, but not in a circle.
        (
            *(
                "answers",
                "conversations",
                "events",
                "growing",
                "length",
                "messages",
                "model_choice",
                "prompt",
                "quota",
                "replies",
            ),
            *("search", "stored_replies", "temporary", "turns", "watching"),
        ),
        ("markdown", "pictures", "models", "errors", "apps", "personal_data"),
    ),
    "kyma": (
        ("asgi", "urls", "management"),
        ("web", "password_gate", "demo"),
        ("connections",),
        ("api", "machine", "health", "apps"),
        ("pages", "checks", "groups", "schema", "metrics", "admin", "settings", "celery"),
        (
            *("schedule", "cache", "databases", "inner_ports", "limited_connection"),
            *("own_secrets", "rest_settings"),
        ),
    ),
}
SHARED_ROWS = {("chat", 2)}  # Their modules may import each other.


def part_of(module: str) -> tuple[str, str]:
    """App and package of a dotted module: ("gateway", "wire") for gateway.wire.sse."""
    app, part, *_ = [*module.split("."), ""]
    return app, part


def module_of(path: Path) -> str:
    names = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def row_of(app: str, part: str) -> int | None:
    return next((row for row, names in enumerate(ROWS[app]) if part in names), None)


def drawn_files(app: str) -> list[Path]:
    return [path for path in files(app) if part_of(module_of(path))[1]]


@pytest.mark.parametrize("app", ROWS)
def test_every_module_has_its_row(app):
    parts = {part_of(module_of(path))[1] for path in drawn_files(app)}
    drawn = {name for row in ROWS[app] for name in row}
    assert parts - drawn == set(), (
        f"{app}/ has new packages: add them to a row of ROWS above and to docs/architecture.md, or "
        "put what they hold into a package that is there."
    )
    assert drawn - parts == set(), "These are in the table, but not in the tree."


@pytest.mark.parametrize("app", ROWS)
def test_a_package_imports_only_from_the_rows_below_its_own(app):
    upward = [
        f"{name_of(path)}:{line} imports {target}: {app}/{source} is in row "
        f"{len(ROWS[app]) - own}, {app}/{part} in row {len(ROWS[app]) - theirs}. What both need "
        f"belongs below row {len(ROWS[app]) - own}; what the lower one needs of the upper one, it "
        "is given as an argument."
        for path in drawn_files(app)
        for source in [part_of(module_of(path))[1]]
        for line, target in imports(path)
        if (part := part_of(target)[1]) != source and part_of(target)[0] == app
        if (own := row_of(app, source)) is not None and (theirs := row_of(app, part)) is not None
        if theirs < own or (theirs == own and (app, own) not in SHARED_ROWS)
    ]
    if upward:
        pytest.fail("\n".join(upward))


@functools.cache
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in files()}


def imported_by(module: str) -> Iterator[str]:
    """The modules of ours that `module` imports; a package stands for its __init__."""
    for _, target in imports(modules()[module]):
        while target and target not in modules():
            target = target.rpartition(".")[0]
        if target and target != module:
            yield target


@pytest.mark.parametrize("app", LAYERS)
def test_no_modules_import_in_a_circle(app):
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            circle = " → ".join((*path[path.index(module) :], module))
            pytest.fail(f"{circle}: move what both need into a module of its own, below both.")
        if module in done:
            return
        for target in imported_by(module):
            walk(target, (*path, module))
        done.add(module)

    for module in modules():
        if module.split(".")[0] == app:
            walk(module, ())
