"""`make mutants`: breaks single lines of the product, one at a time, and says which test notices.

    python -m tests.mutants [--list] [--everything] [--at-once N] [NAME or AREA …]

First all tests that the chosen mutants name run unbroken, as a control: none may fail. Then each
mutant runs its tests, the nearest first, until one fails. A test that fails has to fail twice: once
more by itself, or it failed by chance and is left out. Tests that take five times as long as in the
control count as failed. The command fails if a mutant survives that mutants.toml doesn't call
`unnoticed`. `--everything` lets a mutant that survives its own tests meet all others, which takes
long. `--list` runs nothing, and says where each mutant's line is now.
"""

import argparse
import queue
import signal
import sys
import tempfile
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.mutants import table, trees
from tests.mutants.table import Misfit, Mutant
from tests.mutants.trees import ROOT, BrokeOff, TimedOut, Tree

TIMES_THE_CONTROL = 5
LEAST_LIMIT_S = 300  # Starting pytest and making the databases take a while, too.
COLUMNS = (30, 9, 44, 70)

Job = TypeVar("Job")
Result = TypeVar("Result")


class NotGreen(Exception):
    """Tests fail although nothing is broken."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one mutant fared. `noticed_by` is a test, or says why none is named."""

    mutant: Mutant
    noticed_by: str
    seconds: float

    @property
    def is_noticed(self) -> bool:
        return bool(self.noticed_by)

    @property
    def is_wrong(self) -> bool:
        """True when the mutant survived and nobody expected it."""
        return not self.is_noticed and not self.mutant.unnoticed


class Trees:
    """The copies of the source tree, as many as may run tests at once."""

    def __init__(self, folder: Path, count: int):
        archive = trees.archive(folder)
        self._all = [Tree(folder / str(number), archive) for number in range(count)]
        self._free: queue.Queue[Tree] = queue.Queue()
        for tree in self._all:
            self._free.put(tree)

    def each(self, deed: Callable[[Tree, Job], Result], jobs: Iterable[Job]) -> list[Result]:
        """Do `deed` for each of the jobs, in whichever tree is free. Results keep their order."""
        with ThreadPoolExecutor(len(self._all)) as pool:
            try:
                return list(pool.map(lambda job: self._in_a_tree(deed, job), jobs))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.close()
                raise

    def _in_a_tree(self, deed: Callable[[Tree, Job], Result], job: Job) -> Result:
        tree = self._free.get()
        try:
            return deed(tree, job)
        finally:
            self._free.put(tree)

    def close(self) -> None:
        for tree in self._all:
            tree.close()

    def __len__(self) -> int:
        return len(self._all)


# --- The control


@dataclass(frozen=True, slots=True)
class Control:
    """How long each test file takes while nothing is broken, by engine and file."""

    seconds: dict[tuple[bool, str], float]

    def limit_s(self, files: Sequence[str], *, postgres: bool) -> float:
        """Return for how long a mutant may run these files."""
        usual = sum(self.seconds.get((postgres, file), 0.0) for file in files)
        return max(LEAST_LIMIT_S, TIMES_THE_CONTROL * usual)


def control(copies: Trees, mutants: list[Mutant]) -> Control:
    """Run all tests of the mutants unbroken. Raises NotGreen."""
    jobs = []
    for postgres in (False, True):
        of_engine = [one for one in mutants if one.postgres is postgres]
        files = sorted({file for mutant in of_engine for file in mutant.files})
        parts = [files[start :: len(copies)] for start in range(len(copies))]
        jobs += [(postgres, part) for part in parts if part]
    seconds: defaultdict[tuple[bool, str], float] = defaultdict(float)
    for (postgres, _), outcomes in zip(jobs, copies.each(_unbroken, jobs), strict=True):
        for one in outcomes:
            seconds[postgres, one.test.partition("::")[0]] += one.seconds
    return Control(dict(seconds))


def _unbroken(tree: Tree, job: tuple[bool, list[str]]) -> list[trees.Outcome]:
    postgres, files = job
    outcomes = tree.run(files, postgres=postgres, limit_s=None)
    failed = [one.test for one in outcomes if one.failed]
    if failed:
        again = tree.run(failed, postgres=postgres, limit_s=None)
        if red := [one.test for one in again if one.failed]:
            raise NotGreen("these fail unbroken: " + ", ".join(red))
        note(f"failed by chance, unbroken: {', '.join(failed)}")
    return outcomes


# --- The mutants


def verdict(tree: Tree, mutant: Mutant, usual: Control) -> Verdict:
    """Break the mutant's line, and ask its tests, the nearest first."""
    begun = time.monotonic()
    noticed_by = ""
    with tree.broken_by(mutant):
        for step in mutant.steps:
            limit_s = usual.limit_s(step, postgres=mutant.postgres)
            noticed_by = _first_failure(tree, mutant, step, limit_s)
            if noticed_by:
                break
    result = Verdict(mutant, noticed_by, time.monotonic() - begun)
    note(f"{mutant.name}: {noticed_by or 'SURVIVED'} ({result.seconds:.0f} s)")
    return result


def _first_failure(tree: Tree, mutant: Mutant, files: Sequence[str], limit_s: float) -> str:
    """Return the first test that fails twice, or why none is named; empty if all pass."""
    by_chance: list[str] = []
    while True:
        left_out = [f"--deselect={test}" for test in by_chance]
        try:
            failed = _failed(tree, mutant, files, limit_s, "-x", *left_out)
            if not failed or _failed(tree, mutant, failed, limit_s):
                return "".join(failed[:1])
        except TimedOut:
            return f"(timed out after {limit_s:.0f} s)"
        except BrokeOff as error:
            note(f"{mutant.name}: {error}")
            return "(pytest broke off)"
        note(f"{mutant.name}: failed by chance: {', '.join(failed)}")
        by_chance += failed


def _failed(
    tree: Tree, mutant: Mutant, tests: Sequence[str], limit_s: float, *options: str
) -> list[str]:
    outcomes = tree.run(tests, *options, postgres=mutant.postgres, limit_s=limit_s)
    return [one.test for one in outcomes if one.failed]


# --- What is printed


def note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def rows(verdicts: list[Verdict]) -> Iterable[tuple[str, ...]]:
    """Yield the lines of the table, its head first."""
    yield ("mutant", "area", "what was broken", "noticed by", "s")
    for one in verdicts:
        survived = "survived, as expected" if one.mutant.unnoticed else "SURVIVED"
        noticed_by = one.noticed_by.removeprefix("tests/") or survived
        if one.is_noticed and one.mutant.unnoticed:
            noticed_by += " (take its `unnoticed` away)"
        yield one.mutant.name, one.mutant.area, one.mutant.slip, noticed_by, f"{one.seconds:.0f}"


def render(row: tuple[str, ...]) -> str:
    """Write one row; a text that is too wide for its column goes on below."""
    *cells, last = row
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, COLUMNS, strict=True)]
    lines = []
    for number in range(max(map(len, wrapped))):
        parts = [part[number] if number < len(part) else "" for part in wrapped]
        padded = (text.ljust(width) for text, width in zip(parts, COLUMNS, strict=True))
        end = f"{last:>5}" if number == 0 else ""
        lines.append(f"{'  '.join(padded)}{end}".rstrip())
    return "\n".join(lines)


def counts(verdicts: list[Verdict]) -> Iterable[str]:
    """Yield how many mutants of each area were noticed."""
    of_area = Counter(one.mutant.area for one in verdicts)
    noticed = Counter(one.mutant.area for one in verdicts if one.is_noticed)
    for area, count in of_area.items():
        yield f"{area:<10}{noticed[area]:>3} of {count:>2} noticed"
    yield f"{'all':<10}{noticed.total():>3} of {of_area.total():>2} noticed"


def show_places(mutants: list[Mutant]) -> None:
    for mutant in mutants:
        path = mutant.place(ROOT)
        line = path.read_text().partition(mutant.was)[0].count("\n") + 1
        steps = ", ".join(str(len(step)) for step in mutant.steps)
        print(f"{mutant.name:<34}{path.relative_to(ROOT)}:{line}  (test files: {steps})")


# --- The command


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("only", nargs="*", help="mutants or areas; all by default")
    parser.add_argument("--list", action="store_true", help="only say where the lines are")
    parser.add_argument("--everything", action="store_true", help="run all tests in the end")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="by default 2")
    return parser.parse_args()


def check(mutants: list[Mutant], copies: Trees) -> list[Verdict]:
    """Run the control, then each mutant."""
    note(f"control: the tests of {len(mutants)} mutants, unbroken")
    usual = control(copies, mutants)
    note(f"control is green: {sum(usual.seconds.values()):.0f} s of tests")
    return copies.each(lambda tree, mutant: verdict(tree, mutant, usual), mutants)


def main() -> int:
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that pytest ends, too.
    try:
        mutants = table.chosen(table.read(ROOT, widest=asked.everything), asked.only)
        for mutant in mutants:
            mutant.place(ROOT)
        if asked.list:
            show_places(mutants)
            return 0
        commit = trees.commit()
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kyma-mutants-"))
            copies = Trees(Path(folder), min(asked.at_once, len(mutants)))
            stack.callback(copies.close)
            verdicts = check(mutants, copies)
    except (Misfit, NotGreen, BrokeOff) as problem:
        sys.exit(f"tests.mutants: {problem}")
    print(f"Mutants of commit {commit}\n")
    print("\n".join(map(render, rows(verdicts))), end="\n\n")
    print("\n".join(counts(verdicts)))
    return int(any(one.is_wrong for one in verdicts))


if __name__ == "__main__":
    sys.exit(main())
