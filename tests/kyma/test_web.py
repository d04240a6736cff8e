"""How a web process ends: DrainingServer with a small application, and once as a process."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from chat import replies
from kyma import health, web
from tests.support.live import START_DEADLINE_S, eventually
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20


class Served:
    """A server in a thread, whose one kind of answer streams until the test lets it end."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.may_end = threading.Event()
        self.events = []
        self.asked = []
        self.server = web.make_server(self._application)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))

    def __enter__(self):
        self.thread.start()
        eventually(lambda: self.server.started)
        return self

    def __exit__(self, *exc_info):
        self.may_end.set()
        self.server.handle_exit(signal.SIGINT, None)
        self.join()
        for one in self.asked:
            one.close()

    def join(self):
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()

    async def _application(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.events.append("shut down")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        try:
            while not self.may_end.is_set():  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            self.events.append("settled")
            raise
        await send({"type": "http.response.body", "body": b"ended"})

    def ask(self):
        """The response of a stream that has begun."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.request("GET", "/")
        response = connection.getresponse()
        self.asked += [connection, response]
        assert response.read(6) == b"begun "
        return response

    def accepts(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S).close()
        except ConnectionRefusedError:
            return False
        return True


@pytest.fixture(autouse=True)
def not_draining(monkeypatch):
    monkeypatch.setattr(health, "_draining", False)


@pytest.fixture
def served(settings):
    settings.DRAIN_NOTICE_S = 0.3
    with Served() as served:
        yield served


def test_sigterm_lets_an_open_stream_run_to_its_end(served, settings):
    settings.DRAIN_NOTICE_S = 600
    response = served.ask()
    served.server.handle_exit(signal.SIGTERM, None)
    assert health._draining, "readiness is red at once"
    assert served.ask(), "but requests are still accepted"
    served.server.stops_accepting_at = 0  # The notice is over.
    eventually(lambda: not served.accepts())
    assert served.thread.is_alive()
    served.may_end.set()
    assert response.read() == b"ended"
    served.join()
    assert served.events == ["shut down"]


def test_a_chat_that_nobody_follows_is_answered_before_the_end(served, monkeypatch):
    being_written = [True]
    monkeypatch.setattr(replies, "are_being_written", lambda: bool(being_written))
    served.server.handle_exit(signal.SIGTERM, None)
    eventually(lambda: not served.accepts())
    assert not served.events
    being_written.clear()
    served.join()
    assert served.events == ["shut down"]


def test_a_stream_that_outlasts_the_drain_is_cancelled_and_may_settle(served, settings):
    settings.DRAIN_TIMEOUT_S = 0.2
    response = served.ask()
    served.server.handle_exit(signal.SIGTERM, None)
    served.join()
    assert served.events == ["settled", "shut down"]
    with pytest.raises(http.client.IncompleteRead):
        response.read()


def test_sigint_hurries_a_drain(served):
    served.ask()
    served.server.handle_exit(signal.SIGTERM, None)
    eventually(lambda: not served.accepts())
    served.server.handle_exit(signal.SIGINT, None)
    served.join()
    assert served.events == ["settled", "shut down"]


def test_a_second_sigterm_changes_nothing(served):
    response = served.ask()
    served.server.handle_exit(signal.SIGTERM, None)
    eventually(lambda: not served.accepts())
    served.server.handle_exit(signal.SIGTERM, None)
    served.may_end.set()
    assert response.read() == b"ended"


def test_an_idle_connection_does_not_hold_it_up(served):
    idle = socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE_S)
    eventually(lambda: served.server.server_state.connections)
    served.server.handle_exit(signal.SIGTERM, None)
    served.join()
    assert idle.recv(1) == b""
    idle.close()


def test_the_process_turns_red_then_ends_with_zero(tmp_path, django_db_setup):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "web", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "DRAIN_NOTICE_S": "600"},
            stdout=output,
            stderr=output,
        )

    def answers():
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(f"{url}/health", timeout=DEADLINE_S)
        except requests.ConnectionError:
            return None

    try:
        response = eventually(answers, within_s=START_DEADLINE_S)
        assert "Server" not in response.headers
        assert (
            requests.get(f"{url}/ready", timeout=DEADLINE_S).json()["checks"]["not draining"]
            == "ok"
        )
        process.send_signal(signal.SIGTERM)
        eventually(
            lambda: requests.get(f"{url}/ready", timeout=DEADLINE_S).json()["checks"],
            lambda checks: checks["not draining"] != "ok",
        )
        assert requests.get(f"{url}/ready", timeout=DEADLINE_S).status_code == 503
        assert requests.get(f"{url}/health", timeout=DEADLINE_S).status_code == 200
        process.send_signal(signal.SIGINT)  # Else its notice would last for ten minutes.
        assert process.wait(DEADLINE_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
