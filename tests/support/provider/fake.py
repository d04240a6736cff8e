"""A scripted upstream that speaks HTTP/1.1 byte by byte, so that every fault is a real one.

A request chooses its script by itself: the text of its last user message holds the token that
`fake.script(steps)` gave. So tests can share one server and run in parallel. Without a token of
this server (one of another server is no concern of this one) the answer is an echo with usage.

    with FakeProvider() as fake:
        token = fake.script([Head(), Event(chunk({"content": "Hel"})), Reset()])
        ...  # ask fake.base_url through the gateway, with `token` in the prompt
        assert fake.wait_for_calls(token)[0].headers["authorization"] == "Bearer secret"

The server has a thread and a loop of its own. The `wait_for_...` methods block the caller:
a test that runs a loop itself calls them in `asyncio.to_thread`. A client that closes its
sending half counts as gone, as it does for most real servers.
"""

import argparse
import asyncio
import signal
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from tests.support.ports import free_port
from tests.support.provider.defaults import default_answer
from tests.support.provider.scripts import Either, Script, Step
from tests.support.provider.wire import (
    READ_LIMIT,
    SILENCE_GATE,
    NotUnderstood,
    Request,
    Response,
    read_request,
)

DEADLINE_S = 20  # Less than a script waits or is silent for.
# What ends a connection: the client left, or it speaks no HTTP, or the server stops. (Python 3.11
# logs each handler that ends cancelled.)
_ENDS = (
    ConnectionError,
    EOFError,
    NotUnderstood,
    asyncio.LimitOverrunError,
    asyncio.CancelledError,
)


@dataclass
class Call:
    """One request that named a script, and what became of it. Times are `time.monotonic()`."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    json: Any
    connection: int
    started_at: float
    finished: bool = False
    hung_up_at: float | None = None
    failure: str | None = None


@dataclass
class _Registered:
    attempts: Sequence[Script]
    calls: deque[Call]
    count: int = 0
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())


class FakeProvider:
    """The server; a context manager.

    `pieces`, `interval_s` and `think_s` shape the default chat answer: how many events of text
    a stream has, the time before each, the time before a plain answer.

    Of each script the last 100 calls are kept, none with `record=False`, or as many as its
    `keep` says. The default answers are only counted.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        record: bool = True,
        pieces: int = 4,
        interval_s: float = 0.0,
        think_s: float = 0.0,
    ) -> None:
        self.port = port
        self.default_count = 0
        self._default = partial(
            default_answer, pieces=pieces, interval_s=interval_s, think_s=think_s
        )
        self._keep = 100 if record else 0
        self._registered: dict[str, _Registered] = {}
        self._changed = threading.Condition()
        self._connections: dict[asyncio.Task, asyncio.StreamWriter] = {}
        self._connection_count = 0
        self._stopping = False

    # Life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. After `stop()`, again on the same port and with the same scripts."""
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-provider")
        self._thread.daemon = True
        self._thread.start()
        try:
            self._server = self._run(self._listen())
        except OSError:
            self._stop_loop()
            raise
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Reset all connections and refuse new ones."""
        self._run(self._stop())
        self._stop_loop()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def closed_port(self) -> str:
        """A base URL that refuses connections."""
        return f"http://127.0.0.1:{free_port()}/v1"

    # Scripts

    def script(self, steps: Script, *, keep: int | None = None) -> str:
        """Register `steps` and return the token that a prompt names them by."""
        return self.script_attempts([steps], keep=keep)

    def script_attempts(self, attempts: Sequence[Script], *, keep: int | None = None) -> str:
        """The first request plays the first script, later ones the later, the last repeats."""
        script_id = uuid.uuid4().hex[:16]
        calls: deque[Call] = deque(maxlen=self._keep if keep is None else keep)
        self._registered[script_id] = _Registered(attempts, calls)
        return f"script:{script_id}"

    def forget_scripts(self) -> None:
        self._registered.clear()

    def go(self, token: str, name: str) -> None:
        """Let the script pass its `WaitFor(name)`, now or when it gets there."""
        script = self._script(token)
        self._loop.call_soon_threadsafe(lambda: script.gate(name).set())

    def release(self, token: str) -> None:
        """End the script's `Silence`, now or when it gets there."""
        self.go(token, SILENCE_GATE)

    # Records

    def count(self, token: str) -> int:
        """How many requests named the script, whether their calls were kept or not."""
        return self._script(token).count

    def calls(self, token: str) -> list[Call]:
        with self._changed:
            return list(self._script(token).calls)

    def wait_for_calls(self, token: str, n: int = 1, timeout_s: float = DEADLINE_S) -> list[Call]:
        """The calls, once there have been `n`. Raises TimeoutError, as all of these do."""
        script = self._script(token)
        self._wait(lambda: script.count >= n, timeout_s, f"call {n} of {token}")
        return self.calls(token)

    def wait_for_finish(self, token: str, timeout_s: float = DEADLINE_S) -> Call:
        """The first call whose script was played to its end."""
        return self._wait_for_call(token, lambda call: call.finished, timeout_s, "its end")

    def wait_for_hang_up(self, token: str, timeout_s: float = DEADLINE_S) -> Call:
        """The first call whose client went away before the script's end."""
        return self._wait_for_call(
            token, lambda call: call.hung_up_at is not None, timeout_s, "a hang-up"
        )

    def _wait_for_call(
        self, token: str, fits: Callable[[Call], bool], timeout_s: float, awaited: str
    ) -> Call:
        calls = self._script(token).calls
        self._wait(lambda: any(map(fits, calls)), timeout_s, f"{awaited} in {token}")
        return next(filter(fits, self.calls(token)))

    def _wait(self, predicate: Callable[[], bool], timeout_s: float, awaited: str) -> None:
        with self._changed:
            if not self._changed.wait_for(predicate, timeout_s):
                raise TimeoutError(f"waited {timeout_s} s for {awaited}")

    def _script(self, token: str) -> _Registered:
        return self._registered[token.removeprefix("script:")]

    # The server's own thread

    def _run(self, coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=DEADLINE_S)

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=READ_LIMIT, backlog=4096
        )

    async def _stop(self) -> None:
        self._stopping = True
        self._server.close()
        for task, writer in self._connections.items():
            writer.transport.abort()
            task.cancel()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)
        self._connection_count += 1
        with suppress(*_ENDS):
            if not self._stopping:
                await _Connection(self, reader, writer, self._connection_count).serve()
        writer.close()
        with suppress(*_ENDS):
            await writer.wait_closed()

    # For the connections

    def named_by(self, request: Request) -> _Registered | None:
        known = filter(None, map(self._registered.get, request.script_ids))
        return next(known, None)

    def begin(
        self, script: _Registered, request: Request, connection: int
    ) -> tuple[Call, Sequence[Step]]:
        attempt = script.attempts[min(script.count, len(script.attempts) - 1)]
        if isinstance(attempt, Either):
            attempt = attempt.stream if request.wants_stream else attempt.plain
        call = Call(
            request.method,
            request.path,
            request.headers,
            request.body,
            request.json,
            connection,
            time.monotonic(),
        )
        with self._changed:
            script.count += 1
            script.calls.append(call)
            self._changed.notify_all()
        return call, attempt

    def default_for(self, request: Request) -> bytes | Sequence[Step]:
        self.default_count += 1
        return self._default(request)

    def note(self, call: Call, **outcome: Any) -> None:
        with self._changed:
            for name, value in outcome.items():
                setattr(call, name, value)
            self._changed.notify_all()


class _Connection:
    """One client: requests one after the other, each answered by its script."""

    def __init__(
        self,
        fake: FakeProvider,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
    ) -> None:
        self.fake, self.reader, self.writer, self.number = fake, reader, writer, number
        self.ahead = b""  # what was read of the next request while watching for a hang-up
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.transport.set_write_buffer_limits(0)  # drain() means: handed to the kernel

    async def serve(self) -> None:
        reusable = True
        while reusable:
            request = await read_request(self.reader, self.writer, self.ahead)
            self.ahead = b""
            script = self.fake.named_by(request)
            answered = self._default(request) if script is None else self._play(script, request)
            reusable = await answered and request.keep_alive

    async def _default(self, request: Request) -> bool:
        answer = self.fake.default_for(request)
        if isinstance(answer, bytes):
            self.writer.write(answer)
            await self.writer.drain()
            return True
        response = Response(self.writer)
        await response.play(answer)
        return response.reusable

    async def _play(self, script: _Registered, request: Request) -> bool:
        """Play the script to its end or to the client's, whichever comes first."""
        call, steps = self.fake.begin(script, request, self.number)
        response = Response(self.writer, script.gate)
        playing = asyncio.create_task(response.play(steps))
        watching = asyncio.create_task(self._client_gone())
        try:
            await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
            outcome = _outcome(playing, watching)
        finally:
            playing.cancel()
            watching.cancel()
            await asyncio.gather(playing, watching, return_exceptions=True)
        self.fake.note(call, **outcome)
        if "failure" in outcome:
            response.reset()
        return response.reusable

    async def _client_gone(self) -> float:
        """Returns when the client closes or resets the connection, and says when that was."""
        with suppress(ConnectionError):
            self.ahead = await self.reader.read(1)
            if self.ahead:  # no hang-up, but a next request come early
                await asyncio.Event().wait()
        return time.monotonic()


def _outcome(playing: asyncio.Task, watching: asyncio.Task) -> dict[str, Any]:
    if not playing.done():
        return {"hung_up_at": watching.result()}
    failure = playing.exception()
    if failure is None:
        return {"finished": True}
    if isinstance(failure, ConnectionError):
        return {"hung_up_at": time.monotonic()}
    return {"failure": f"{type(failure).__name__}: {failure}"}


def main() -> None:
    parser = argparse.ArgumentParser(description="The fake provider with its default answers.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pieces", type=int, default=4, help="events of text in a stream")
    parser.add_argument("--interval", type=float, default=0.0, help="seconds before each event")
    parser.add_argument("--think", type=float, default=0.0, help="seconds before a plain answer")
    options = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the server's thread inherits it
    pace = {"pieces": options.pieces, "interval_s": options.interval, "think_s": options.think}
    with FakeProvider(port=options.port, **pace) as fake:
        print(fake.base_url, flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
