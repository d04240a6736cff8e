import asyncio

import pytest

from accounts import hashing
from accounts.errors import PasswordsBusy
from kyma import password_gate

CROWD = 20


class Pages:
    """An application whose answers wait until they may go."""

    def __init__(self) -> None:
        self.inside = 0
        self.refused = 0
        self.may_go = asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        try:
            with hashing.Turns(1, wait_s=0).take():
                pass
        except PasswordsBusy:
            self.refused += 1
            return
        self.inside += 1
        await self.may_go.wait()
        self.inside -= 1


async def begin(gate, count: int, *, path="/accounts/login/", method="POST") -> list[asyncio.Task]:
    scope = {"type": "http", "method": method, "path": path}
    tasks = [asyncio.create_task(gate(scope, None, None)) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def begin_all(wait_s: float, settings, **request) -> tuple[Pages, list[asyncio.Task]]:
    settings.PASSWORD_HASH_WAIT_S = wait_s
    pages = Pages()
    return pages, await begin(password_gate.Gate(pages), CROWD, **request)


def test_few_are_inside_and_the_others_follow(settings):
    async def run():
        pages, tasks = await begin_all(60, settings)
        assert pages.inside == password_gate.INSIDE
        pages.may_go.set()
        await asyncio.gather(*tasks)
        assert pages.refused == 0

    asyncio.run(run())


def test_those_that_wait_too_long_get_a_refusal_though_nobody_leaves(settings):
    async def run():
        pages, tasks = await begin_all(0.01, settings)
        done, waiting = await asyncio.wait(tasks, timeout=0.5)
        assert len(done) == pages.refused == CROWD - password_gate.INSIDE
        pages.may_go.set()
        await asyncio.gather(*waiting)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/accounts/login/"), ("POST", "/accounts/logout/"), ("POST", "/keys/new")],
)
def test_what_hashes_no_password_never_waits(settings, method, path):
    async def run():
        pages, tasks = await begin_all(60, settings, method=method, path=path)
        assert pages.inside == CROWD
        pages.may_go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
