"""The mutants of mutants.toml, each with the place of its line and the test files to ask.

A mutant names its line by a piece of source text that occurs once in its app, and tests by patterns
below tests/. So modules and tests can move without a change here, as long as both still match.
"""

import dataclasses
import tomllib
from pathlib import Path

TABLE = Path(__file__).with_name("mutants.toml")
SUFFIXES = (".py", ".sql", ".lua")
WIDEST = "everything"  # A group of mutants.toml: the last step for what nothing else noticed.


class Misfit(Exception):
    """The table doesn't fit the source tree: a line, a pattern or a name isn't there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """One line of product code that is to be broken: `was` becomes `becomes`.

    `steps` are lists of test files that are asked in this order. A mutant that is `unnoticed` is
    known to survive.
    """

    name: str
    area: str
    slip: str
    app: str
    was: str
    becomes: str
    steps: tuple[tuple[str, ...], ...]
    postgres: bool = False
    unnoticed: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """All test files that this mutant may need."""
        return tuple(file for step in self.steps for file in step)

    def place(self, root: Path) -> Path:
        """Return the one file of the app that holds the line. Raises Misfit."""
        counts = {path: path.read_text().count(self.was) for path in _sources(root / self.app)}
        found = [path for path, count in counts.items() if count]
        if sum(counts.values()) != 1:
            raise Misfit(f"{self.name}: {self.app} holds {sum(counts.values())} × {self.was}")
        return found[0]


def read(root: Path, *, widest: bool = False) -> list[Mutant]:
    """Return all mutants, in the order of the table; with the widest step or without. Raises
    Misfit.
    """
    table = tomllib.loads(TABLE.read_text())
    names = [entry["name"] for entry in table["mutants"]]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Misfit(f"more than one mutant has the name {', '.join(sorted(twice))}")
    tests = _Tests(root, table["groups"], table["never"])
    last = [WIDEST] if widest else []
    return [_mutant(entry, tests, last) for entry in table["mutants"]]


def chosen(mutants: list[Mutant], words: list[str]) -> list[Mutant]:
    """Return the mutants that `words` name, by mutant or by area; all without any word."""
    known = {word for mutant in mutants for word in (mutant.name, mutant.area)}
    if unknown := set(words) - known:
        raise Misfit(f"no mutant or area has the name {', '.join(sorted(unknown))}")
    return [one for one in mutants if not words or {one.name, one.area} & set(words)]


def _mutant(entry: dict, tests: "_Tests", last: list[str]) -> Mutant:
    if "\n" in entry["was"] + entry["becomes"]:
        raise Misfit(f"{entry['name']}: a mutant breaks one line")
    try:
        steps = tests.steps([*entry["tests"], *last])
    except Misfit as misfit:
        raise Misfit(f"{entry['name']}: {misfit}") from None
    members = {name: value for name, value in entry.items() if name != "tests"}
    return Mutant(**members, steps=steps)


class _Tests:
    """The test files below tests/, by pattern or by group."""

    def __init__(self, root: Path, groups: dict[str, list[str]], never: list[str]):
        self._root = root
        self._groups = groups
        self._never = {file for pattern in never for file in self._matches(pattern)}

    def steps(self, names: list[str]) -> tuple[tuple[str, ...], ...]:
        """Return the files of each step, without the files of an earlier one. Raises Misfit."""
        known: set[str] = set(self._never)
        steps = []
        for name in names:
            patterns = self._groups.get(name, [name])
            files = dict.fromkeys(file for one in patterns for file in self._matches(one))
            steps.append(tuple(file for file in files if file not in known))
            known.update(files)
        return tuple(step for step in steps if step)

    def _matches(self, pattern: str) -> list[str]:
        """Return the test files that a pattern matches, or that its folders hold."""
        found: set[Path] = set()
        for path in (self._root / "tests").glob(pattern):
            found.update(path.rglob("test_*.py") if path.is_dir() else [path])
        if not found:
            raise Misfit(f"no test matches tests/{pattern}")
        return sorted(str(path.relative_to(self._root)) for path in found)


def _sources(folder: Path) -> list[Path]:
    """Return the source files of an app, migrations aside."""
    found = (path for suffix in SUFFIXES for path in folder.rglob(f"*{suffix}"))
    return sorted(path for path in found if "migrations" not in path.parts)
