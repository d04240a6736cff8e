"""A pytest plugin: writes one JSON line per test into the file that OUTCOMES_FILE names.

A line holds the test's id, its seconds and whether it failed. A file that can't be collected counts
as a test that failed.
"""

import json
import os
from collections import defaultdict

VARIABLE = "OUTCOMES_FILE"

_seconds: defaultdict[str, float] = defaultdict(float)
_failed: set[str] = set()


def pytest_runtest_logreport(report):
    _seconds[report.nodeid] += report.duration
    if report.failed:
        _failed.add(report.nodeid)
    if report.when == "teardown":
        _write(report.nodeid)


def pytest_collectreport(report):
    if report.failed:
        _failed.add(report.nodeid)
        _write(report.nodeid)


def _write(test: str) -> None:
    line = {"test": test, "seconds": _seconds[test], "failed": test in _failed}
    with open(os.environ[VARIABLE], "a") as file:
        file.write(json.dumps(line) + "\n")
