"""Kyma as its customers meet it: real gateway processes on the test database.

`Gateway` is one web process; `Customer` is one paying person with a key. Tests look at their
own customer's rows only: what a live test commits stays until the next flush.
"""

import copy
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from django.db import connections

from accounts.keyring import data_keys
from billing.models import Hold, LedgerEntry
from gateway.models import ApiRequest, RequestContent, content_place
from tests.support.factories import make_account, make_key, make_user
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20
START_DEADLINE_S = 120
USD = 1_000_000_000

# For tests of these very times, where all others are patient (tests/settings.py): small enough that
# each is over within a test. Where something is to come in time, it has more of it.
KEPT_ALIVE = {"KEEP_ALIVE_INTERVAL_S": "0.3"}
IMPATIENT = {
    **KEPT_ALIVE,
    "UPSTREAM_CONNECT_TIMEOUT_S": "1",
    "UPSTREAM_FIRST_BYTE_TIMEOUT_S": "1",
    "UPSTREAM_ANSWER_TIMEOUT_S": "1.5",
    "UPSTREAM_IDLE_TIMEOUT_S": "1",
}
LESS_IMPATIENT = {
    **KEPT_ALIVE,
    "UPSTREAM_CONNECT_TIMEOUT_S": "4",
    "UPSTREAM_FIRST_BYTE_TIMEOUT_S": "4",
    "UPSTREAM_ANSWER_TIMEOUT_S": "4.5",
    "UPSTREAM_IDLE_TIMEOUT_S": "4",
}


def eventually(
    read: Callable[[], Any],
    wanted: Callable[[Any], bool] = bool,
    *,
    within_s: float = DEADLINE_S,
) -> Any:
    """What `read` returns once it is `wanted`. Fails after a deadline, with the last value."""
    deadline = time.monotonic() + within_s
    while True:
        value = read()
        if wanted(value):
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {within_s} s"
        time.sleep(0.02)


class Gateway:
    """One web process. As a context manager it is stopped at the end, and must stop well."""

    def __init__(self, **environment: str):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**os.environ, **database_urls(), **environment}
        self._process: subprocess.Popen | None = None
        self.log = Path(os.environ["KYMA_STATE_DIR"]) / f"web-{self.port}.log"

    def __enter__(self) -> "Gateway":
        self.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        command = [sys.executable, "manage.py", "web", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        eventually(self._is_ready, within_s=START_DEADLINE_S)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"the gateway died:\n{self.log.read_text()}"
        try:
            return requests.get(f"{self.url}/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def is_well(self) -> bool:
        """Return True if /health answers within half a second."""
        return requests.get(f"{self.url}/health", timeout=0.5).ok

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        """Ask it to end, and don't wait."""
        self._process.terminate()

    def interrupt(self) -> None:
        """Ask it to end in a hurry, and don't wait."""
        self._process.send_signal(signal.SIGINT)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            assert self.wait() == 0, self.log.read_text()

    def kill(self) -> None:
        """kill -9: nothing of it gets a chance to clean up."""
        self._process.kill()
        self._process.wait()


class Customer:
    """One person with credit and a key, who asks one gateway."""

    def __init__(self, gateway: Gateway, *, balance_nano: int = USD, **account_fields):
        self.gateway = gateway
        self.user = make_user(f"{uuid.uuid4().hex}@example.org")
        self.account = make_account(self.user, balance_nano=balance_nano, **account_fields)
        self.key, self.key_text = make_key(self.user)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key_text}"}

    def at(self, gateway: Gateway) -> "Customer":
        """The same person at another process."""
        other = copy.copy(self)
        other.gateway = gateway
        return other

    # --- asking

    def ask(self, prompt: str, *, model: str = "scripted", **fields) -> requests.Response:
        """Post one chat completion; with stream=True the response isn't read yet."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}
        return self.post(body, stream=bool(fields.get("stream")))

    def post(
        self,
        body: Any,
        *,
        path: str = "/v1/chat/completions",
        stream: bool = False,
        headers: dict[str, str] | None = None,
        **options,
    ) -> requests.Response:
        return requests.post(
            self.gateway.url + path,
            json=body,
            headers={**self.headers, **(headers or {})},
            stream=stream,
            timeout=DEADLINE_S,
            **options,
        )

    def get(self, path: str) -> requests.Response:
        return requests.get(self.gateway.url + path, headers=self.headers, timeout=DEADLINE_S)

    # --- looking at the books

    def balance_nano(self) -> int:
        self.account.refresh_from_db()
        return self.account.balance_nano

    def held_nano(self) -> int:
        self.account.refresh_from_db()
        return self.account.held_nano

    def usage_entries(self) -> list[LedgerEntry]:
        return list(self.account.entries.filter(kind=LedgerEntry.Kind.USAGE))

    def holds(self) -> list[Hold]:
        return list(self.account.holds.all())

    def requests(self) -> list[ApiRequest]:
        return list(self.account.requests.order_by("id"))

    def settled_request(self) -> ApiRequest:
        """The one request of this customer, once its row is there and nothing is held."""
        (row,) = eventually(self.requests, lambda rows: len(rows) == 1)
        eventually(self.holds, lambda holds: not holds)
        return row

    def content(self, request_id: uuid.UUID) -> bytes | None:
        """What was logged of a request, opened with the person's key."""
        row = RequestContent.objects.filter(pk=request_id).first()
        if row is None:
            return None
        return data_keys.cipher_of(self.user.id).open(row.sealed, content_place(row.id.hex))


def database_urls() -> dict[str, str]:
    """The variables that point another process at the databases of this test run."""
    variables = {"default": "DATABASE_URL", "keyring": "KEYRING_DATABASE_URL"}
    return {variable: _url(alias, variable) for alias, variable in variables.items()}


def _url(alias: str, variable: str) -> str:
    name = connections[alias].settings_dict["NAME"]
    if connections[alias].vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlunsplit(urlsplit(os.environ[variable])._replace(path=f"/{name}"))


def data_of(response: requests.Response) -> list[str]:
    """The data of each event of a stream, read to its end; comments as they stand."""
    text = response.content.decode()
    frames = [frame for frame in text.split("\n\n") if frame]
    return [frame.removeprefix("data: ") for frame in frames]
