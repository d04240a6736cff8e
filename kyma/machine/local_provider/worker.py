"""The thread that owns the model, and the queue in which requests wait for it."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from kyma.machine.local_provider.errors import Abandoned


class Worker:
    """One thread that runs all work with the model, one request after the other.

    The model has one context, so requests wait in the thread's queue. When a consumer stops
    listening, its work ends at the next token, or leaves the queue if it hasn't begun.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self, produce: Callable[[Callable[[], bool]], Generator]) -> AsyncGenerator:
        """Yield the items of `produce(cancelled)`, run in the thread. Use it with `aclosing`."""
        loop = asyncio.get_running_loop()
        items: asyncio.Queue = asyncio.Queue()
        gone = threading.Event()

        def cancelled() -> bool:
            return gone.is_set() or self._stopping.is_set()

        def work() -> None:
            with closing(produce(cancelled)) as made:
                for item in made:
                    if cancelled():
                        raise Abandoned
                    loop.call_soon_threadsafe(items.put_nowait, item)

        future = loop.run_in_executor(self._thread, work)

        def done(_: asyncio.Future) -> None:
            # Retrieve the exception, so that asyncio doesn't log it as never retrieved when the
            # consumer has gone.
            if not future.cancelled():
                future.exception()
                items.put_nowait(future)

        future.add_done_callback(done)
        try:
            while (item := await items.get()) is not future:
                yield item
            future.result()
        finally:
            gone.set()
            future.cancel()
