"""Each attack on the doors, for a moment: /health answers in time, and memory stays bounded."""

import contextlib
import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.support.attacks import half_open, heads, json_bodies, unknown_keys
from tests.support.doors import memory_of
from tests.support.live import Customer, eventually

SECONDS = 1.0
MOST_GROWTH_BYTES = 300_000_000
LEFT_BYTES = 50_000_000
HEALTH_S = 0.5
ELSEWHERE = "127.0.0.2"
DEAR = ("too many keys", "a text of escapes", "deep lists", "tokens to embed")

ATTACKS = {
    "heads": heads.run,
    "half-open": half_open.run,
    "unknown keys": unknown_keys.run,
    "json": partial(json_bodies.run, kinds=DEAR),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_harms_nobody_else(impatient, scripted, name):
    customer = Customer(impatient)
    attack = ATTACKS[name]
    if name == "json":
        attack = partial(attack, key=customer.key_text)
    customer.get("/v1/key")
    idle = memory_of(impatient.pid, "VmRSS")
    address = ("127.0.0.1", impatient.port)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(attack, address, seconds=SECONDS)
        while not running.done():
            assert health_of(address) == 200
            assert memory_of(impatient.pid, "VmRSS") - idle < MOST_GROWTH_BYTES
            time.sleep(0.01)
        running.result()
    assert customer.get("/v1/key").status_code == 200
    eventually(lambda: memory_of(impatient.pid, "VmRSS") - idle, lambda grown: grown < LEFT_BYTES)


def health_of(address: tuple[str, int]) -> int:
    """Ask /health from another address than the attack, which shares its bound with nobody."""
    connection = http.client.HTTPConnection(
        *address, timeout=HEALTH_S, source_address=(ELSEWHERE, 0)
    )
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        return connection.getresponse().status
