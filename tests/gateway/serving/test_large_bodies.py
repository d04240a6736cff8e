"""A few large bodies of an account are read at once."""

import asyncio

import pytest

from gateway.errors import TooManyRequests
from gateway.serving import large_bodies
from gateway.serving.large_bodies import AT_ONCE, LargeBody


async def turn_of(account: str) -> LargeBody:
    body = LargeBody(account)
    await body.admit()
    return body


def test_the_next_is_read_when_one_has_ended():
    async def story():
        turns = [await turn_of("a") for _ in range(AT_ONCE)]
        next_one = asyncio.create_task(turn_of("a"))
        await asyncio.sleep(0)
        assert not next_one.done()
        await turn_of("b")  # Another account waits for nobody.
        turns[0].end()
        turns[0].end()
        await next_one
        later = asyncio.create_task(turn_of("a"))
        await asyncio.sleep(0)
        assert not later.done()
        later.cancel()

    asyncio.run(story())
    assert not large_bodies._turns


def test_a_body_that_a_limit_refuses_takes_no_turn():
    async def refuse() -> None:
        raise TooManyRequests("Later")

    async def story():
        for _ in range(AT_ONCE + 1):
            body = LargeBody("a", refuse)
            with pytest.raises(TooManyRequests):
                await body.admit()
            body.end()

    asyncio.run(story())
