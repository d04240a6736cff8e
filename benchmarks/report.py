"""Writes the page `benchmarks/README.md` after a whole run."""

import datetime as dt
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.parts import Comparison, Run
from benchmarks.profiles import Profile
from benchmarks.streams import percentile

PAGE = Path(__file__).with_name("README.md")

# Measures the disk for over ten seconds, because a disk sometimes stalls for a moment.
WRITES, BLOCK, PAUSE_S = 2000, bytes(4096), 0.005
MOST_LOAD = 0.5  # the load average caused by other programs
HEAD = """# What Kyma costs

`make bench` measures this and rewrites this page; `make bench ONLY=cpu` measures one part (cpu,
streams, rows, memory) and only prints it. `__main__.py` explains what is measured, and how.

- {machine}
- {software}
- 4 KB reach the disk (`fdatasync`) in {disk}; an
  answer waits for that once after its provider, and once beside it
- Kyma {commit}, {date}; {load}

One process of the gateway has a core to itself; load generator, upstream, Valkey and Postgres share
the other. Authentication, limits, hold, settlement, request row and encrypted content are all
durable before the last byte of an answer leaves.
"""
COMPARED = """## Beside others

The same load through nginx as a bare reverse proxy, and through LiteLLM's proxy with one key and no
database. Neither keeps books.

| | CPU per whole answer, ms | answers/s | added p50, ms | added p99, ms | CPU per event, µs |
|---|--:|--:|--:|--:|--:|
"""
PROFILED = """## Why: profiles

Shares of the time in which the gateway ran Python, or C that Python had called, under the load that
showed the figure. Left what functions take themselves, right what Kyma's own take with all that
they call.
"""


def write(head: str, run: Run, page: Path = PAGE) -> None:
    page.write_text(render(head, run))


def render(head: str, run: Run) -> str:
    titles = [profile.title for profile in run.profiles]
    parts = [head, figures(run.figures, titles), *(f"{said}\n" for said in run.missing)]
    if run.comparisons:
        parts.append(COMPARED + "".join(map(_compared, run.comparisons)))
    if run.profiles:
        parts += [PROFILED, *map(profile_table, run.profiles)]
    return "\n".join(parts)


def figures(measured: list[Figure], titles: list[str]) -> str:
    """Return the table, with a link from each missed figure to its profile."""
    lines = ["| figure | at most | measured | |", "|---|--:|--:|---|"]
    for figure in measured:
        verdict = "kept" if figure.is_kept else f"**missed**{_link(figure, titles)}"
        name = f"{figure.name} ({figure.note})" if figure.note else figure.name
        lines.append(f"| {name} | {figure.bound} | {figure.measured} | {verdict} |")
    return "\n".join(lines) + "\n"


PROFILE_OF = {
    "cpu": "Whole answers, {}",
    "event": "Streams, {}",
    "added_p50": "Eight at a time, {}",
    "added_p99": "Eight at a time, {}",
    "streams_core": "1,000 open streams, {}",
    "streams_memory": "1,000 open streams, {}",
    "streams_first": "1,000 open streams, {}",
    "rows": "Before 1,000,000 rows, {}",
}


def _link(figure: Figure, titles: list[str]) -> str:
    title = PROFILE_OF.get(figure.key, "").format(figure.engine)
    return f": [profile](#{_anchor(title)})" if title in titles else ""


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", title.lower()).replace(" ", "-")


def _compared(one: Comparison) -> str:
    numbers = (
        f"{one.cpu_ms:.3f} | {one.per_s:.0f} | "
        f"{one.added.p50.middle:.1f} | {one.added.p99.middle:.1f}"
    )
    event = "-" if one.event_us is None else f"{one.event_us:.0f}"
    return f"| {one.name} | {numbers} | {event} |\n"


def profile_table(profile: Profile) -> str:
    title = f"### {profile.title}\n"
    if profile.failure:
        return f"{title}\n{profile.failure}\n"
    lines = ["| | itself | | of Kyma, with what it calls |", "|--:|---|--:|---|"]
    for (own, function), (below, ours) in zip(profile.own, profile.below, strict=False):
        lines.append(f"| {own:.1f} % | `{function}` | {below:.1f} % | `{ours}` |")
    return "\n".join([title, *lines, ""])


# --- Where and when


def head() -> str:
    """Return the facts about a whole run. Called before the run, which makes the machine busy."""
    return HEAD.format(**surroundings(), load=busyness(os.getloadavg()[0]))


def busyness(load: float) -> str:
    """Return how busy other programs kept the machine, because they make every figure worse."""
    busy = ": **the machine was busy, so figures are too high**" if load > MOST_LOAD else ""
    return f"load average before the run {load:.1f}{busy}"


def surroundings() -> dict[str, str]:
    names = dict(_cpu_facts())
    return {
        "machine": f"{names.get('model name', platform.machine())}, {os.cpu_count()} cores, "
        f"{_memory_gib():.0f} GiB; Linux {platform.release()}",
        "software": f"Python {platform.python_version()}, {_said('wrk', '-v').partition(' [')[0]}, "
        f"{_said('nginx', '-v').removeprefix('nginx version: ')}",
        "disk": disk_speed(),
        "commit": _said("git", "describe", "--always", "--dirty"),
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
    }


def disk_speed() -> str:
    """Return how long a small write takes to be durable: latency that no code can avoid."""
    waits = []
    with tempfile.NamedTemporaryFile(prefix="kyma-bench-", buffering=0) as file:
        for _ in range(WRITES):
            file.write(BLOCK)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            waits.append(1e3 * (time.perf_counter() - start))
            time.sleep(PAUSE_S)
    p50, p99 = percentile(waits, 0.50), percentile(waits, 0.99)
    return f"{p50:.1f} ms (p50), {p99:.1f} ms (p99), {max(waits):.0f} ms (the longest of {WRITES})"


def _cpu_facts() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _said(*command: str) -> str:
    """Return the first line of a program's output or errors. Ignores the exit code (wrk: 1)."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter((done.stdout + done.stderr).splitlines()), "")
