"""Free ports for the servers that tests start."""

import contextlib
import socket
from collections.abc import Iterable, Iterator

_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody else is given in this process's life, nor any other process by chance.

    It stays bound: a server that allows addresses to be reused, as all here do, can listen there
    all the same. Until one does, the port refuses connections.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _reserved.append(reserved)
    return reserved.getsockname()[1]


@contextlib.contextmanager
def strangers_on(ports: Iterable[int]) -> Iterator[None]:
    """Other programs that listen on these ports."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield
