"""Starts the local provider as a real process, for tests that talk to it over HTTP."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
MODEL = "smollm2-135m"
START_DEADLINE_S = 120
STOP_DEADLINE_S = 60
ANSWER_DEADLINE_S = 120


class Provider:
    """A running process, and the shortest words for talking to it."""

    def __init__(self, process: subprocess.Popen, address: str):
        self.process = process
        self.address = address
        self.line = ""

    def post(self, path: str, **body) -> requests.Response:
        body = {"model": MODEL, "temperature": 0} | body
        return requests.post(f"{self.address}/v1/{path}", json=body, timeout=ANSWER_DEADLINE_S)

    def chat(self, messages, **body) -> dict:
        response = self.post("chat/completions", messages=messages, **body)
        assert response.status_code == 200, response.text
        return response.json()

    def answer(self, messages, **body) -> str:
        return self.chat(messages, **body)["choices"][0]["message"]["content"]

    def events(self, path: str = "chat/completions", **body) -> list:
        """The chunks of a stream; the closing mark is checked and left out."""
        response = self.post(path, stream=True, **body)
        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = response.content.decode().removesuffix("\n\n").split("\n\n")
        assert events.pop() == "data: [DONE]"
        return [json.loads(event.removeprefix("data: ")) for event in events]

    def health(self) -> dict:
        return requests.get(f"{self.address}/health", timeout=START_DEADLINE_S).json()


def start(**environment) -> Provider:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "kyma.machine.local_provider", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    provider = Provider(process, f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + START_DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            provider.health()
        except requests.ConnectionError:
            time.sleep(0.02)
        else:
            provider.line = process.stdout.readline()
            return provider
    stop(provider)
    pytest.fail("the local provider did not start")


def stop(provider: Provider) -> str:
    """Everything it printed since its first line."""
    provider.process.terminate()
    rest, _ = provider.process.communicate(timeout=STOP_DEADLINE_S)
    return rest
