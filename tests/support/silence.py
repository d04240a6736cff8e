"""Ways in which Postgres stops to answer: the whole server freezes, or a pooler goes silent.

Both leave every connection open, and every byte that is sent to it is acknowledged.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

from tests.support.live import database_urls

CHUNK = 65_536


class Pooler:
    """A port in front of the Postgres server of this test run, whose socket lies in `folder`."""

    def __init__(self) -> None:
        url = urlsplit(database_urls()["DATABASE_URL"])
        self.folder = Path(parse_qs(url.query)["host"][0])
        self._is_silent = False
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "Pooler":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info) -> None:
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # Wakes the thread that waits for it.
            one.close()

    @property
    def urls(self) -> dict[str, str]:
        """The variables that lead another process through this port to the databases."""
        return {
            variable: urlunsplit(
                urlsplit(url)._replace(
                    netloc=f"postgres@127.0.0.1:{self.port}", query="sslmode=disable"
                )
            )
            for variable, url in database_urls().items()
        }

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Swallow what is sent in the block. A connection that sent something stays silent."""
        self._is_silent = True
        try:
            yield
        finally:
            self._is_silent = False

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server in the block. Each then goes on where it stopped."""
        postmaster = int((self.folder / "postmaster.pid").read_text().split()[0])
        _signal_all(postmaster, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal_all(postmaster, signal.SIGCONT)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # The listener is closed.
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._sockets += [client, server]
                if not self._is_silent:
                    server.connect(str(self.folder / ".s.PGSQL.5432"))
                for way in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=way, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        is_silent = self._is_silent
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                is_silent = is_silent or self._is_silent
                if not is_silent:
                    target.sendall(data)
            if not is_silent:
                target.shutdown(socket.SHUT_WR)


def _signal_all(postmaster: int, number: signal.Signals) -> None:
    """Signal the server: its children after it, as it would start others."""
    os.kill(postmaster, number)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == postmaster:
                os.kill(int(stat.parent.name), number)
