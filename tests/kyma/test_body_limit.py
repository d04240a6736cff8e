"""Bodies that are too large for the pages and /api/ are refused before they are kept."""

import asyncio
import json

import pytest

from kyma import body_limit

HALF = b"x" * 600


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(body_limit, "MOST_BYTES", 1000)


async def reads_all(scope, receive, send):
    """As Django does: nothing is answered to whoever hung up."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(application, parts: list[bytes], *, path: str = "/api/keys", length: int | None = None):
    """Status, kind and body of the answer, and how much of the request was left unread."""
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": "http", "path": path, "headers": headers}
    waiting = list(parts)
    sent = []

    async def receive():
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    asyncio.run(body_limit.apply(application, scope, receive, send))
    start, end = sent
    return start["status"], dict(start["headers"]).get(b"content-type"), end["body"], len(waiting)


@pytest.mark.parametrize("length", [None, 1000])
def test_a_body_of_the_largest_size_is_served(length):
    assert ask(reads_all, [HALF, b"x" * 400], length=length)[0] == 200


def test_a_body_that_is_announced_as_too_large_is_not_even_read():
    status, kind, body, unread = ask(reads_all, [HALF, HALF], length=1001)
    assert (status, kind, unread) == (413, b"application/problem+json", 2)
    assert json.loads(body)["code"] == "payload_too_large"


@pytest.mark.parametrize("length", [None, 5])
def test_a_body_that_grows_too_large_is_read_no_further(length):
    status, _, body, unread = ask(reads_all, [HALF, HALF, HALF], length=length)
    assert (status, unread) == (413, 1)
    assert b"1,000 bytes" in body


def test_pages_say_it_in_plain_text():
    assert ask(reads_all, [HALF, HALF], path="/chat/import")[1] == b"text/plain"


def test_what_was_answered_before_its_body_came_stays_answered():
    async def answers_first(scope, receive, send):
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        await receive()
        await receive()

    assert ask(answers_first, [HALF, HALF])[0] == 401


def test_what_a_chat_may_say_is_no_body_that_is_too_large(alice, client):
    client.force_login(alice)
    said = {"messages": [], "model": "x", "system_prompt": "画" * 1_500_000}
    answer = client.post("/chat/temporary/reply", said, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_allowed")
