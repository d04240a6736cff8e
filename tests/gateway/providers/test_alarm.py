"""One timer for many waits: it ends the one that takes too long, and no other."""

import asyncio

import pytest
import uvloop

from gateway.providers.alarm import Alarm

SOON_S, LATE_S = 0.02, 30


async def wait(alarm: Alarm, awaitable, after_s: float):
    alarm.set(after_s)
    try:
        return await awaitable
    except asyncio.CancelledError:
        if alarm.was_it():
            raise TimeoutError from None
        raise
    finally:
        alarm.stop()


def run(story):
    async def told():
        async with asyncio.timeout(LATE_S):
            alarm = Alarm()
            result = await story(alarm)
            alarm.close()
            return result

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # The web process's.
        return runner.run(told())


def forever() -> asyncio.Future:
    return asyncio.get_running_loop().create_future()


def test_what_takes_too_long_times_out_again_and_again():
    async def story(alarm):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await wait(alarm, forever(), SOON_S)
        return asyncio.current_task().cancelling()

    assert run(story) == 0


def test_a_wait_of_no_time_leaves_the_next_one_its_own():
    async def story(alarm):
        for after_s in (0, LATE_S):
            ready = forever()
            ready.set_result("here")
            assert await wait(alarm, ready, after_s) == "here"
        with pytest.raises(TimeoutError):
            await wait(alarm, forever(), SOON_S)

    run(story)


def test_many_waits_share_a_timer(monkeypatch):
    async def story(alarm):
        started = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(alarm, "_start_timer", lambda: started.append(1) or real())
        real = Alarm._start_timer.__get__(alarm)
        for _ in range(100):
            ready = loop.create_future()
            ready.set_result("here")
            assert await wait(alarm, ready, LATE_S) == "here"
        return len(started)

    assert run(story) == 1


def test_a_timer_of_an_earlier_wait_ends_no_later_one():
    async def story(alarm):
        await wait(alarm, asyncio.sleep(0), SOON_S)
        return await wait(alarm, asyncio.sleep(5 * SOON_S, "done"), LATE_S)

    assert run(story) == "done"


def test_a_shorter_wait_after_a_longer_one_ends_in_time():
    async def story(alarm):
        await wait(alarm, asyncio.sleep(0), LATE_S)
        with pytest.raises(TimeoutError):
            await wait(alarm, forever(), SOON_S)

    run(story)


def test_a_cancellation_from_elsewhere_stays_one():
    async def story(alarm):
        waiting = asyncio.create_task(wait(alarm, forever(), LATE_S))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(story)


def test_an_alarm_that_nobody_waits_for_cancels_nobody():
    async def story(alarm):
        await wait(alarm, asyncio.sleep(0), SOON_S)
        await asyncio.sleep(5 * SOON_S)
        return asyncio.current_task().cancelling()

    assert run(story) == 0
