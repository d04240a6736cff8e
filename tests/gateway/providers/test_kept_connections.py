"""Which connections to providers are used once more, and for how long."""

import asyncio
from types import SimpleNamespace

import pytest

from gateway.providers import connection
from gateway.providers.connection import KEPT_S
from tests.support.gateway.wire_server import ONE, TWO, close, reset, story, turns, until


@pytest.fixture
def clock(monkeypatch):
    """The clock by which connections are kept."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.mark.parametrize(("idle_s", "connections"), [(KEPT_S - 1, 1), (KEPT_S + 1, 2)])
@story
async def test_a_connection_is_kept_for_a_while(provider, clock, idle_s, connections):
    await provider.answers([ONE], [TWO])
    assert await provider.ask() == b"one"
    clock.now += idle_s
    assert await provider.ask() == b"two"
    assert len(provider.wires) == connections
    if connections == 2:
        await provider.wires[0].gone.wait()


async def hang_up_after(idle_s: float, provider, clock) -> None:
    """The first connection serves a request, and is ended by its provider so much later."""
    over = asyncio.Event()
    await provider.answers([ONE, until(over), close], *[[ONE]] * 9)
    assert await connections_after(0, provider, clock) == 1
    clock.now += idle_s
    over.set()
    await provider.wires[0].gone.wait()
    await turns()
    assert await connections_after(0, provider, clock) == 2


async def connections_after(idle_s: float, provider, clock) -> int:
    """How many there have been in all when another request has been served."""
    clock.now += idle_s
    assert await provider.ask() == b"one"
    return len(provider.wires)


@story
async def test_a_provider_that_hangs_up_sooner_is_asked_well_before(provider, clock):
    await hang_up_after(5, provider, clock)
    assert await connections_after(3.9, provider, clock) == 2
    assert await connections_after(4.1, provider, clock) == 3, "it may be ended at any moment"


@story
async def test_a_provider_that_turns_out_to_keep_connections_gets_them_reused(provider, clock):
    await hang_up_after(5, provider, clock)
    assert await connections_after(KEPT_S + 1, provider, clock) == 3, "the second is still there"
    assert await connections_after(KEPT_S - 1, provider, clock) == 3


@story
async def test_a_provider_that_restarts_means_nothing_by_it(provider, clock):
    await hang_up_after(0.5, provider, clock)
    assert await connections_after(KEPT_S - 1, provider, clock) == 2


@pytest.mark.parametrize("end", [close, reset])
@story
async def test_a_connection_that_the_provider_ended_is_not_used_again(provider, end):
    await provider.answers([ONE, end], [TWO])
    assert await provider.ask() == b"one"
    await provider.wires[0].gone.wait()
    await turns()
    assert await provider.ask() == b"two"
    assert len(provider.wires) == 2


@story
async def test_a_closed_pool_keeps_nothing(provider):
    await provider.answers([ONE])
    assert await provider.ask() == b"one"
    assert not provider.wires[0].gone.is_set()
    provider.pool.close()
    await provider.wires[0].gone.wait()
