"""`make bench`: Kyma's cost on one core, compared with nginx and LiteLLM.

    python -m benchmarks [cpu|streams|rows|memory]

The measured process is pinned to one core and everything else to the other: wrk and our own client
of streams, a provider that answers from memory (`upstream.py`), Valkey, and Postgres, which really
writes to the disk. CPU is the user and system time that the kernel counted for the process, divided
by the requests or events answered meanwhile.

    cpu       64 connections that ask for whole answers over and over: CPU per answer. 64 streams
              of 200 events, each event in its own packet: CPU per event, including that of their
              requests. 8 connections to a provider that takes 100 ms: p50 and p99, less those of
              the provider asked directly; the median of five rounds. On both engines, and then
              for nginx and LiteLLM.
    streams   1,000 streams of ten events a second: the CPU and the memory that they take, and then
              the time to the first token of 200 further ones; the median of five rounds.
    rows      CPU per whole answer of two gateways in turns, one with 10,000 request rows and one
              with 1,000,000, on both engines.
    memory    resident memory after 10,000 and after 100,000 whole answers.

A missed promise is profiled at once, under the load that showed it. Everything is bounded in time
and count, and uses 127.0.0.1 only. A whole run takes about a quarter of an hour and writes
`benchmarks/README.md`; a run of one part only prints.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.parts import PARTS, Run
from benchmarks.processes import OTHER_CORE, free_port, running

PROGRAMS = {"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("only", nargs="?", choices=PARTS, help="measure this part and print it")
    only = parser.parse_args().only
    check_machine()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Ends all that it started, too.
    head = report.head()
    with tempfile.TemporaryDirectory(prefix="kyma-bench-") as folder:
        port, log = free_port(), Path(folder, "upstream.log")
        upstream = [sys.executable, "-m", "benchmarks.upstream", str(port)]
        with running(upstream, core=OTHER_CORE, port=port, log=log):
            run = Run(f"http://127.0.0.1:{port}")
            for name in [only] if only else PARTS:
                measure(name, run)
    if only:
        print(report.render("", run))
    else:
        report.write(head, run)
        print(f"Written: {report.PAGE}")


def measure(name: str, run: Run) -> None:
    """Run one part. If it breaks off, the page says so and the other parts still run."""
    print(f"— {name}: {PARTS[name].__doc__}", flush=True)
    try:
        PARTS[name](run)
    except (RuntimeError, TimeoutError) as error:
        run.missing.append(f"**The part `{name}` broke off**: {str(error).splitlines()[0]}")
        print(f"  {error}", flush=True)


def check_machine() -> None:
    """Exit unless this machine has the cores and programs that the bench needs."""
    if (os.cpu_count() or 1) < 2:
        sys.exit("The bench needs two cores: one for what is measured, one for the rest.")
    missing = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if missing:
        sys.exit(
            f"The bench needs programs that aren't here: apt-get install -y {' '.join(missing)}"
        )


if __name__ == "__main__":
    main()
