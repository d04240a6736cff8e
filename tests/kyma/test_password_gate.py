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


def sends(*messages: dict):
    """Return the `receive` of a client that sends these messages, and then no more."""
    left = iter(messages)

    async def receive() -> dict:
        return next(left, None) or await asyncio.Event().wait()

    return receive


def part(body: bytes, *, more_body: bool = False) -> dict:
    return {"type": "http.request", "body": body, "more_body": more_body}


async def no_body() -> dict:
    return part(b"")


async def begin(
    gate, count: int, *, path="/accounts/login/", method="POST", receive=no_body
) -> list[asyncio.Task]:
    scope = {"type": "http", "method": method, "path": path}
    tasks = [asyncio.create_task(gate(scope, receive, None)) for _ in range(count)]
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
    [
        ("GET", "/accounts/login/"),
        ("POST", "/accounts/logout/"),
        ("POST", "/keys/new"),
        ("POST", "/accounts/password/reset/"),  # It sends a mail, which may take long.
    ],
)
def test_what_hashes_no_password_never_waits(settings, method, path):
    async def run():
        pages, tasks = await begin_all(60, settings, method=method, path=path)
        assert pages.inside == CROWD
        pages.may_go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_a_client_that_sends_its_form_slowly_takes_no_place(settings):
    async def run():
        settings.PASSWORD_HASH_WAIT_S = 60
        pages = Pages()
        gate = password_gate.Gate(pages)
        slow = await begin(gate, CROWD, receive=sends(part(b"login=", more_body=True)))
        quick = await begin(gate, 1)
        assert pages.inside == 1
        pages.may_go.set()
        await asyncio.gather(*quick)
        for one in slow:
            one.cancel()

    asyncio.run(run())


def test_a_slow_mail_server_that_holds_up_sign_ups_keeps_nobody_from_signing_in(settings):
    async def run():
        settings.PASSWORD_HASH_WAIT_S = 60
        pages = Pages()
        gate = password_gate.Gate(pages)
        waiting = await begin(gate, CROWD, path="/accounts/signup/")
        assert pages.inside == password_gate.INSIDE
        signing_in = await begin(gate, 1)
        assert pages.inside == password_gate.INSIDE + 1
        pages.may_go.set()
        await asyncio.gather(*waiting, *signing_in)

    asyncio.run(run())


def test_the_form_arrives_whole_and_then_what_follows_it():
    heard = []

    async def page(scope, receive, send) -> None:
        heard.extend([await receive(), await receive()])

    async def run():
        left = {"type": "http.disconnect"}
        client = sends(part(b"login=", more_body=True), part(b"a"), left)
        (task,) = await begin(password_gate.Gate(page), 1, receive=client)
        await task
        assert heard == [part(b"login=a"), left]

    asyncio.run(run())


def test_a_form_that_is_far_too_large_or_never_ends_reaches_no_page():
    sent = []

    async def send(message: dict) -> None:
        sent.append(message)

    async def run():
        pages = Pages()
        gate = password_gate.Gate(pages)
        scope = {"type": "http", "method": "POST", "path": "/accounts/login/"}
        much = b"x" * (password_gate.MOST_BYTES + 1)
        await gate(scope, sends(part(much, more_body=True)), send)
        assert sent[0]["status"] == 413
        await gate(scope, sends(part(b"x", more_body=True), {"type": "http.disconnect"}), send)
        assert (len(sent), pages.inside, pages.refused) == (2, 0, 0)

    asyncio.run(run())
