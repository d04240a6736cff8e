"""A turn that fails leaves nothing for the garbage collector, which runs rarely."""

from accounts.ids import uuid7
from chat.turns import Turn
from gateway.access.authentication import signed_in
from tests.gateway.conftest import live_route
from tests.support.factories import make_account
from tests.support.gateway.garbage import garbage_of


def test_a_turn_that_is_refused_leaves_no_garbage(committed, fake):
    live_route("scripted", fake.base_url)
    caller = signed_in(make_account().user)
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "scripted", "stream": True, "messages": messages}

    async def store(_):
        return None

    async def story():
        turn = Turn(uuid7(), caller, body, request_id=uuid7(), store=store)
        turn.begin()
        await turn.task
        assert turn.snapshot().state == "failed"

    assert not garbage_of(story)
