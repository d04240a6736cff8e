"""The memory of a gateway process, which requests and refusals must leave as it was.

Its collector of garbage runs rarely, as in production. `make endurance ONLY=memory` runs the long
counts.
"""

import itertools
import re
from pathlib import Path

import pytest

from tests.support.attacks import refused_bodies
from tests.support.counts import counts
from tests.support.factories import make_key
from tests.support.gateway import load
from tests.support.live import USD, Customer, Gateway, eventually
from tests.support.provider.scripts import Bytes, Done, End, Head, answer, chunk, error, sse

MB = 1_000_000
FLAT = 1.05
TIMES = 8
ROOM = 15 * MB  # Bodies that were kept would take more.
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 2 * MB}"}}


def rss_of(gateway: Gateway) -> int:
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def stays_below(gateway: Gateway, most_bytes: float) -> None:
    eventually(lambda: rss_of(gateway), lambda rss: rss <= most_bytes)


@pytest.fixture
def poor(gateway):
    return Customer(gateway, balance_nano=0, unlimited=True)


@pytest.fixture
def rich(gateway):
    return Customer(gateway, balance_nano=10**6 * USD, unlimited=True)


def refuse(customer: Customer, raw: bytes, times: int) -> set[int]:
    raws = itertools.repeat(raw, times)
    address, key = customer.gateway.url, customer.key_text
    return set(refused_bodies.send_all(address, key, raws, connections=4))


@pytest.mark.parametrize("kind", refused_bodies.bodies(1))
def test_memory_holds_no_body_that_was_refused(gateway, poor, kind):
    raw = refused_bodies.bodies(3 * MB)[kind]
    refuse(poor, raw, 4)
    before = rss_of(gateway)
    assert refuse(poor, raw, TIMES) <= {400, 402, 404, 413}
    stays_below(gateway, before + ROOM)


def test_memory_holds_no_body_beyond_a_limit(gateway):
    customer, raw = Customer(gateway), refused_bodies.bodies(3 * MB)["a wrong field"]
    customer.key, customer.key_text = make_key(customer.user, requests_per_minute=4)
    assert refuse(customer, raw, 6) == {400, 429}
    before = rss_of(gateway)
    assert refuse(customer, raw, 2 * TIMES) <= {400, 429}
    stays_below(gateway, before + ROOM)


@pytest.mark.parametrize(
    "end",
    [
        "declined",
        pytest.param("failed", marks=pytest.mark.proof),
        pytest.param("whole", marks=pytest.mark.proof),
    ],
)
def test_memory_holds_no_body_once_its_provider_has_answered(gateway, rich, fake, end):
    steps = {"declined": error(400, "No"), "failed": error(500), "whole": answer("Hello")}[end]
    said = {"type": "text", "text": fake.script(steps, keep=0)}

    body = {"model": "scripted", "messages": [{"role": "user", "content": [said, PICTURE]}]}

    def ask(times: int) -> None:
        for _ in range(times):
            rich.post(body)

    ask(4)
    before = rss_of(gateway)
    ask(TIMES)
    stays_below(gateway, before + ROOM)


@pytest.mark.parametrize("is_left", [False, True], ids=["read", "left"])
def test_memory_holds_no_long_stream(gateway, rich, fake, is_left):
    pieces = [Bytes(sse(chunk({"content": "x" * 50_000})))] * 60
    prompt = fake.script([Head(), *pieces, Done(), End()], keep=0)

    def ask(times: int) -> None:
        for _ in range(times):
            with rich.ask(prompt, stream=True) as response:
                pieces = response.iter_content(100_000)
                assert next(pieces)
                if not is_left:
                    assert sum(map(len, pieces)) > 2 * MB

    ask(4)
    before = rss_of(gateway)
    ask(TIMES)
    stays_below(gateway, before + ROOM)


@pytest.mark.parametrize("count", counts(1_000, proof=20_000, endurance=200_000))
def test_memory_is_flat_over_many_answers(gateway, rich, count):
    assert set(load.ask(gateway.url, rich.headers, 500 + count // 10)) == {200}
    before = rss_of(gateway)
    assert load.ask(gateway.url, rich.headers, count) == {200: count}
    stays_below(gateway, FLAT * before)


@pytest.mark.parametrize("count", counts(60, proof=1_000, endurance=20_000))
def test_memory_is_flat_over_many_refusals(gateway, poor, count):
    kinds = [raw for raw in refused_bodies.bodies(MB).values() if len(raw) < 2 * MB]

    def send(times: int) -> set[int]:
        raws = itertools.islice(itertools.cycle(kinds), times)
        return set(refused_bodies.send_all(gateway.url, poor.key_text, raws, connections=4))

    send(20 + count // 10)
    before = rss_of(gateway)
    assert send(count) <= {400, 402, 404}
    stays_below(gateway, FLAT * before)
