"""Bodies for pages and /api/: how large and how slow they may be, and where they are kept."""

import asyncio
import contextlib
import json
import os
import tempfile
import time
import uuid
from pathlib import Path

import pytest
import requests
from django.test import Client

from kyma.connections import bodies
from tests.support.factories import make_key, make_user
from tests.support.gateway.key_manager import Manager
from tests.support.gateway.wire_client import WireClient
from tests.support.live import DEADLINE_S, ROOT, Customer

HALF = b"x" * 600
SMALL, WITH_PICTURES, IMPORT = 1_000, 2_000, 3_000
MB = 1_000_000


@pytest.fixture
def person(committed):
    """Somebody whom all threads see."""
    return make_user(f"{uuid.uuid4().hex}@example.org")


@pytest.fixture(autouse=True)
def small(settings):
    settings.MAX_SMALL_BODY_BYTES = SMALL
    settings.MAX_BODY_BYTES = WITH_PICTURES
    settings.MAX_IMPORT_BODY_BYTES = IMPORT


async def reads_all(scope, receive, send):
    """Read a body as Django does. There is no answer to a client that has hung up."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(
    application=reads_all,
    *,
    parts: tuple[bytes, ...] = (HALF, HALF),
    path: str = "/api/keys",
    length: int | None = None,
    stalls: bool = False,
    headers: tuple[tuple[bytes, bytes], ...] = (),
):
    """Return status, kind and body of the answer, and the number of parts left unread.

    Without a length the body is chunked.
    """
    framing = (
        (b"transfer-encoding", b"chunked")
        if length is None
        else (b"content-length", str(length).encode())
    )
    scope = {"type": "http", "method": "POST", "path": path, "headers": [framing, *headers]}
    waiting = list(parts)
    sent = []

    async def receive():
        if not waiting:
            await asyncio.sleep(DEADLINE_S)
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting) or stalls}

    async def send(message):
        sent.append(message)

    asyncio.run(bodies.apply(application, scope, receive, send))
    start, end = sent
    return start["status"], dict(start["headers"]).get(b"content-type"), end["body"], len(waiting)


# --- Sizes


@pytest.mark.parametrize("length", [None, SMALL])
def test_a_small_body_is_served(length):
    assert ask(parts=(HALF, b"x" * 400), length=length)[0] == 200


def test_a_body_that_is_announced_as_too_large_is_not_even_read():
    status, kind, body, unread = ask(length=SMALL + 1)
    assert (status, kind, unread) == (413, b"application/problem+json", 2)
    assert json.loads(body)["code"] == "payload_too_large"


@pytest.mark.parametrize("length", [None, 5])
def test_a_body_that_grows_too_large_is_read_no_further(length):
    status, _, body, unread = ask(parts=(HALF, HALF, HALF), length=length)
    assert (status, unread) == (413, 1)
    assert b"1,000 bytes" in body


def test_pages_say_it_in_plain_text():
    assert ask(path="/accounts/login/", length=1001)[1] == b"text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/chat/import", 403), ("/chat/start", 403), ("/api/conversations/x/messages", 401)],
)
def test_a_strangers_body_is_small_everywhere(path, status, committed):
    assert ask(path=path, length=SMALL + 1)[::3] == (status, 2)
    assert ask(path=path, parts=(HALF, HALF, HALF))[::3] == (413, 1), "without a length"
    wrong = ((b"authorization", b"Bearer kyma-x"), (b"cookie", b"sessionid=x"))
    assert ask(path=path, length=SMALL + 1, headers=wrong)[::3] == (status, 2)
    assert ask(path=path, parts=(HALF,), length=600)[0] == 200


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/chat/import", IMPORT),
        ("/chat/start", WITH_PICTURES),
        ("/chat/temporary/reply", WITH_PICTURES),
        ("/api/conversations/x/messages", WITH_PICTURES),
        ("/settings/privacy", SMALL),
        ("/api/keys", SMALL),
    ],
)
def test_a_signed_in_person_may_send_what_a_page_needs(path, most, person):
    client = Client()
    client.force_login(person)
    session = client.cookies["sessionid"].value
    headers = ((b"cookie", b"sessionid=" + session.encode()),)
    for length in (most, None):
        whole = (b"x" * (most - 10), b"x" * 10)
        assert ask(path=path, parts=whole, length=length, headers=headers)[0] == 200
    assert ask(path=path, length=most + 1, headers=headers)[::3] == (413, 2)
    assert ask(path=path, parts=(b"x" * most, b"x"), headers=headers)[0] == 413


def test_a_key_may_send_pictures_to_chats(person):
    _, text = make_key(person, scopes=["conversations"])
    headers = ((b"authorization", f"Bearer {text}".encode()),)
    path = "/api/conversations/x/messages"
    assert ask(path=path, parts=(HALF, HALF), length=1200, headers=headers)[0] == 200
    assert ask(path="/chat/start", length=1200, headers=headers)[0] == 403, "pages take no key"


def test_a_chat_may_say_more_than_a_small_body(alice, client, settings):
    settings.MAX_BODY_BYTES = 10 * MB
    client.force_login(alice)
    said = {"messages": [], "model": "x", "system_prompt": "画" * 1_500_000}
    answer = client.post("/chat/temporary/reply", said, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_allowed")


# --- Pace


def test_a_body_that_stalls_is_refused(settings):
    settings.BODY_TIMEOUT_S = 0.1
    status, _, body, _ = ask(parts=(b"half",), length=100, stalls=True)
    assert status == 408
    assert json.loads(body)["code"] == "timeout"


# --- Where bodies are kept, at a real process


def test_no_upload_is_ever_a_file(impatient, settings):
    customer = Customer(impatient)
    client = Client()
    client.force_login(customer.user)
    token = "x" * 32
    cookies = f"sessionid={client.cookies['sessionid'].value}; csrftoken={token}"
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="chats.md"\r\n'
        b"Content-Type: text/markdown\r\n\r\n" + b"x" * 19 * MB + b"\r\n--x--\r\n"
    )
    headers = {
        "Cookie": cookies,
        "X-CSRFToken": token,
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": str(len(form)),
    }
    with WireClient(impatient.port) as sending:
        sending.send_head(headers, "/chat/import")
        sending.send(form[:-1])
        for _ in range(10):  # It has read some of it by now, and waits for the last byte.
            assert temporary_files(impatient.pid) == []
            time.sleep(0.02)
        sending.send(form[-1:])
        sending.socket.settimeout(0.01)
        seen: list[str] = []
        while not sending.received:
            seen += temporary_files(impatient.pid)
            with contextlib.suppress(TimeoutError):
                sending.received = sending.socket.recv(65536)
        assert seen == []
        sending.socket.settimeout(DEADLINE_S)
        assert sending.read_to_the_end().status in (302, 422)


def temporary_files(pid: int) -> list[str]:
    """Return the temporary files that the process has open."""
    known = (os.environ["KYMA_STATE_DIR"], str(ROOT))
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(one)
        except OSError:
            continue
        if target.startswith(tempfile.gettempdir()) and not target.startswith(known):
            found.append(target)
    return found


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_keys_are_made_and_changed_by_small_bodies(impatient, method):
    manager = Manager(impatient)
    path = "" if method == "POST" else f"/{manager.key.id.hex}"
    answer = manager.manage(method, path, raw=b'{"name": "x"}'.ljust(64_001))
    assert answer.status_code == 413
    assert answer.json()["error"]["message"].startswith("The body is larger than 64000 bytes")
    assert manager.manage(method, path, raw=b'{"name": "x"}'.ljust(64_000)).ok


def test_a_strangers_import_is_refused_unread(impatient):
    answer = requests.post(
        f"{impatient.url}/chat/import", data=b"x" * MB, timeout=DEADLINE_S, allow_redirects=False
    )
    assert answer.status_code == 403
    assert "sign in" in answer.text
