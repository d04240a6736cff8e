"""The web process: uvicorn, and how it ends.

On SIGTERM, readiness turns red at once and requests are accepted for DRAIN_NOTICE_S more. Then open
streams, chats, and answers still read for clients that have gone run to their end, for at most
DRAIN_TIMEOUT_S. On SIGINT there is no notice, and running requests are cancelled. Either way the
gateway settles all it has before the process ends.
"""

import asyncio
import ctypes
import gc
import signal
import socket
import sys
import time

import uvicorn
from django.conf import settings

from chat import replies
from gateway.serving import settlement
from kyma import health, limited_connection
from kyma.connections.connection import Connection, end_overdue

CANCEL_TIMEOUT_S = 10.0  # for cancelled requests to settle
POLL_S = 0.05
TICKS_PER_LOOK = 5  # of 0.1 s, between two looks for connections that are overdue
# How long the thread that writes to SQLite may wait for Python while streams keep it busy.
SWITCH_INTERVAL_S = 0.0005
GARBAGE_THRESHOLD = 50_000  # new objects that are still alive
LARGE_BLOCK_BYTES = 256_000
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of malloc.h


def serve(*, host: str, port: int, fd: int | None = None) -> None:
    """Serve until a signal comes, on the listening socket `fd` if one is given."""
    limited_connection.limit(settings.DATABASE_TIMEOUT_S)
    sockets = None if fd is None else [socket.socket(fileno=fd)]
    make_server("kyma.asgi:application", host=host, port=port).run(sockets)


def make_server(app, **options) -> "DrainingServer":
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.KEEP_ALIVE_S,
        **options,
    )
    return DrainingServer(config)


class DrainingServer(uvicorn.Server):
    stops_accepting_at = float("inf")

    def handle_exit(self, sig, frame) -> None:
        """Begin to drain. Uvicorn's own handler would end the process by the signal afterwards."""
        health.start_draining()
        if sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        else:
            notice_ends_at = time.monotonic() + settings.DRAIN_NOTICE_S
            self.stops_accepting_at = min(self.stops_accepting_at, notice_ends_at)

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        _collect_garbage_rarely()
        _give_memory_back()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            for server in self.servers:
                for listener in server.sockets:  # Its connections inherit the option.
                    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _deaf_ms())

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_LOOK == 0:
            end_overdue(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter) or time.monotonic() >= self.stops_accepting_at

    async def shutdown(self, sockets=None) -> None:
        for listener in [*self.servers, *(sockets or [])]:
            listener.close()
        deadline = time.monotonic() + settings.DRAIN_TIMEOUT_S
        # It polls, because uvicorn's state signals nothing.
        while self._close_idle() and not self.force_exit and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        await self._cancel_requests()
        await self.lifespan.shutdown()

    def _close_idle(self) -> bool:
        """Close every connection without a request, now or as soon as it has none.

        Returns True while other connections, chat replies or unsettled answers remain.
        """
        for connection in list(self.server_state.connections):
            connection.shutdown()
        state = self.server_state
        is_serving = bool(state.tasks or state.connections)
        return is_serving or replies.are_being_written() or settlement.are_running()

    async def _cancel_requests(self) -> None:
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT_S)


def _give_memory_back() -> None:
    """Have glibc return large blocks when they are freed, such as the body of a request.

    By itself it keeps blocks of up to 32 MB once it has seen any, apart for each of many threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(_M_ARENA_MAX, 2)


def _collect_garbage_rarely() -> None:
    """Keep Python from searching all of Django for garbage again and again.

    Objects loaded by now are never searched. The cycles that requests leave are few, and wait a
    little longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)


def _deaf_ms() -> int:
    """Return how long a client may take none of its bytes before the kernel hangs up.

    No running answer is cut off: its request and its hold have ended by then. Without this, a
    client that never reads would keep its connection, and a drain, for ever.
    """
    return round(1000 * (settings.REQUEST_TOTAL_TIMEOUT_S + settings.HOLD_GRACE_S))
