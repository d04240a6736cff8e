"""What the bench reads and writes; it measures nothing here."""

import asyncio
import json
import subprocess
import sys

import pytest

from benchmarks import load, profiles, report, streams, upstream
from benchmarks.figures import Figure
from benchmarks.measurements import Latency, Rounds
from benchmarks.parts import Comparison, Run
from benchmarks.web import OUT_OF_REACH

WRK_OUTPUT = """Running 10s test @ http://127.0.0.1:8000/v1/chat/completions
  1 threads and 64 connections
Requests/sec:   1347.10

{"requests": 13471, "duration_us": 10000000, "p50_us": 38900, "p99_us": 61000, "failed": 0}
"""
RAW = """process 1:"web";serve (kyma/web.py:25);begin (gateway/serving/completions.py:60) 30
process 1:"web";serve (kyma/web.py:25);dumps (/v/lib/site-packages/orjson/__init__.py:1) 70
"""


def test_what_wrk_counted_is_read_from_its_last_line():
    answers = load.parse(WRK_OUTPUT)
    assert (answers.requests, answers.p50_us, answers.failed) == (13471, 38900, 0)
    assert answers.per_s == pytest.approx(1347.1)


def test_a_percentile_is_a_value_that_was_seen():
    values = [float(number) for number in range(1, 101)]
    assert streams.percentile(values, 0.50) == 50
    assert streams.percentile(values, 0.99) == 99
    assert streams.percentile([7.0], 0.99) == 7
    assert streams.percentile([], 0.99) == 0


def test_a_figure_at_its_bound_is_kept_and_one_beyond_is_missed():
    assert Figure("cpu", "SQLite", 0.30).is_kept
    assert not Figure("cpu", "SQLite", 0.301).is_kept


def test_a_missed_figure_leads_to_its_profile():
    run = Run("http://127.0.0.1:9")
    run.figures += [Figure("cpu", "SQLite", 0.2), Figure("event", "SQLite", 86.3, "a note")]
    run.profiles.append(profiles.summary("Streams, SQLite", RAW))
    page = report.render("# Head\n", run)
    cpu, event = (line for line in page.splitlines() if line.startswith("| Gateway CPU"))
    assert cpu.endswith("| 0.3 ms | 0.20 ms | kept |")
    assert event.endswith("| **missed**: [profile](#streams-sqlite) |")
    assert "(a note)" in event
    assert "### Streams, SQLite" in page


def test_the_middle_round_counts_and_the_others_are_told():
    rounds = Rounds((112.0, 430.0, 113.5, 111.0, 250.0)) - Rounds((101.0, 100.5, 180.0))
    assert rounds.middle == 12.5
    assert rounds.note == "rounds: 10.0 to 329.0"


def test_a_comparison_has_a_line_of_its_own():
    run = Run("http://127.0.0.1:9")
    added = Latency(Rounds((0.1,)), Rounds((0.4,)))
    run.comparisons.append(Comparison("nginx", 0.0312, 20_000, added, 6))
    assert "| nginx | 0.031 | 20000 | 0.1 | 0.4 | 6 |" in report.render("", run)


def test_what_could_not_be_measured_is_said():
    run = Run("http://127.0.0.1:9")
    run.missing.append("LiteLLM can't be installed here: no network")
    assert "LiteLLM can't be installed here: no network" in report.render("", run)


def test_a_profile_tells_what_takes_most_and_where_kyma_calls_it():
    profile = profiles.summary("Whole answers", RAW)
    assert profile.own[0] == (70.0, "dumps (orjson/__init__.py)")
    assert profile.below[0] == (100.0, "serve (kyma/web.py)")


def test_the_page_says_where_and_when_it_was_measured(monkeypatch):
    monkeypatch.setattr(report, "WRITES", 20)
    head = report.head()
    assert "cores" in head
    assert "Python 3." in head


def test_the_page_says_when_the_machine_was_busy_with_other_things():
    assert "the machine was busy" in report.busyness(4.2)
    assert "busy" not in report.busyness(0.2)


def test_the_upstream_answers_whole_and_in_events():
    async def ask(model: str) -> bytes:
        server = await asyncio.get_running_loop().create_server(upstream.Connection, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(streams.request(f"http://127.0.0.1:{port}/v1/x", "key", model))
            end = b"0\r\n\r\n" if model == "probe" else b"}}"
            received = await asyncio.wait_for(reader.readuntil(end), 10)
            writer.close()
            return received

    whole = asyncio.run(ask("plain"))
    answer = json.loads(whole.partition(b"\r\n\r\n")[2])
    assert answer["usage"]["completion_tokens"] == 20
    streamed = asyncio.run(ask("probe"))
    assert streamed.count(b"data: {") == 3  # One of content, the end, usage.
    assert b"data: [DONE]" in streamed


def test_the_measured_process_counts_limits_that_are_out_of_reach():
    """In a process of its own: the tiers of this one are as they should be."""
    program = """
import django
from benchmarks import web
web.raise_limits()
django.setup()
from gateway.access import limits
from gateway.v1 import key_objects
from gateway.v1.price_objects import tier_object
assert limits.TIERS == key_objects.TIERS
print(tier_object(0)["requests_per_minute"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == str(OUT_OF_REACH.requests), done.stderr
