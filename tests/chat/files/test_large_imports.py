"""Imports that would take far more memory than their size, several at once, and on no disk."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import pytest
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import ImportBusy, ImportRefused
from chat.files import counting, json_file, transfer
from chat.models import Conversation
from tests.support.api_client import signed_in
from tests.support.attacks.imports import FILES
from tests.support.live import ROOT

HI = {"role": "user", "content": "Hi"}
FILE = orjson.dumps({"model": "scripted", "messages": [HI]})


# --- Counted first -------------------------------------------------------------------------------


# Parses each file, and prints by how many MB the process grew at most.
PARSING = """
import contextlib
import django
django.setup()
from pathlib import Path
from chat.errors import ImportRefused
from chat.files import json_file, markdown_file
from tests.support.attacks.imports import FILES

def memory(name):
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0]) // 1000

for content in FILES:
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins again.
    before = memory("VmRSS:")
    with contextlib.suppress(ImportRefused):
        (json_file if content[:1] in b"{[" else markdown_file).read(content)
    print(memory("VmHWM:") - before)
"""


def test_a_file_never_takes_several_times_its_size():
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", PARSING], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    peaks = [int(line) for line in done.stdout.split()]
    assert len(peaks) == len(FILES)
    assert max(peaks) < 120, peaks  # A text with one emoji takes four bytes for each character.


def test_json_of_too_many_parts_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.delattr(json_file.orjson, "loads")
    for content in FILES[:3]:
        with pytest.raises(ImportRefused, match="too many parts"):
            json_file.read(content)


def test_as_many_messages_as_may_be_imported_are_not_refused():
    reply = {
        **HI,
        **dict.fromkeys(("id", "parent", "reasoning", "model", "created_at", "state", "provider")),
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        "cost_usd": "0.1",
    }
    counting.check(orjson.dumps({"messages": [reply] * 20_000}))


VALUES = st.recursive(
    st.none() | st.text(st.sampled_from('",:[]{}\\a😀')),
    lambda one: st.lists(one) | st.dictionaries(st.text(st.sampled_from('",[{\\')), one),
)


@given(value=VALUES, size=st.integers(1, 40))
def test_texts_are_never_counted(value, size):
    """Whatever stands in texts, and wherever the pieces begin."""

    def boxes(one) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        return isinstance(one, dict | list) + sum(map(boxes, inner))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counting, "PIECE", size)
        patched.setattr(counting, "MOST_BOXES", boxes(value))
        counting.check(orjson.dumps(value))
        if boxes(value):
            patched.setattr(counting, "MOST_BOXES", boxes(value) - 1)
            with pytest.raises(ImportRefused):
                counting.check(orjson.dumps(value))


# --- One at a time -------------------------------------------------------------------------------


@pytest.mark.usefixtures("books")
def test_while_one_is_imported_another_is_asked_to_come_again(alice):
    hers, entered, left = signed_in(alice), threading.Event(), threading.Event()

    def import_slowly():
        with transfer.importing():
            entered.set()
            left.wait()

    other = threading.Thread(target=import_slowly)
    other.start()
    entered.wait()
    try:
        with pytest.raises(ImportBusy):
            transfer.import_file(alice, content=FILE, model="scripted")
        answer = hers.post("/chat/import", {"file": SimpleUploadedFile("chats", FILE)})
        assert answer.status_code == 429
        assert answer["Retry-After"] == "5"
        assert "Send it again in a moment." in answer.text
        assert not Conversation.objects.exists()
    finally:
        left.set()
        other.join()
    assert hers.post("/chat/import", {"file": SimpleUploadedFile("chats", FILE)}).status_code == 302
    assert Conversation.objects.count() == 1


# --- On no disk ----------------------------------------------------------------------------------


def test_a_large_file_stays_in_memory():
    request = RequestFactory().post("/", {"file": SimpleUploadedFile("chats", FILES[3])})
    assert type(request.FILES["file"]) is InMemoryUploadedFile


# Receives a large import as the web process does, and stops before it is parsed.
PROCESS = """
import asyncio, time
import django
django.setup()
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.test.client import encode_multipart
from tests.support.attacks.imports import FILES

body = encode_multipart("xyz", {"file": SimpleUploadedFile("chats", FILES[3])})
parts = [
    {"type": "http.request", "body": body[at : at + 65536], "more_body": at + 65536 < len(body)}
    for at in range(0, len(body), 65536)
]
headers = {"content-type": "multipart/form-data; boundary=xyz", "content-length": str(len(body))}
scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [
    (name.encode(), value.encode()) for name, value in headers.items()
]}

async def receive():
    return parts.pop(0)

request = ASGIRequest(scope, asyncio.run(ASGIHandler().read_body(receive)))
print(request.FILES["file"].size, flush=True)
time.sleep(60)
"""


def test_a_killed_import_leaves_no_file(tmp_path):
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert int(process.stdout.readline()) == len(FILES[3])
        opened = {os.readlink(one) for one in Path(f"/proc/{process.pid}/fd").iterdir()}
        process.send_signal(signal.SIGKILL)
    assert [one for one in opened if str(tmp_path) in one] == []
    assert list(tmp_path.iterdir()) == []
