"""How many large bodies of one account are read at once."""

import asyncio

import pytest

from gateway.wire import turns


def test_large_bodies_of_one_account_wait_and_hold_up_no_other():
    async def story():
        may_end = asyncio.Event()
        inside = []

        async def reading(account):
            async with turns.turn_of(account):
                inside.append(account)
                await may_end.wait()

        tasks = [asyncio.create_task(reading("a")) for _ in range(turns.AT_ONCE + 5)]
        tasks.append(asyncio.create_task(reading("b")))
        await asyncio.sleep(0)
        assert inside == ["a"] * turns.AT_ONCE + ["b"]
        tasks[-2].cancel()
        may_end.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert inside.count("a") == turns.AT_ONCE + 4
        assert turns._waiting == {}

    asyncio.run(story())


def test_a_failure_gives_the_turn_back():
    async def story():
        for _ in range(turns.AT_ONCE + 1):
            with pytest.raises(ValueError, match="half"):
                async with turns.turn_of("a"):
                    raise ValueError("half")

    asyncio.run(story())
