"""A Valkey server of a test's own: the real one, which can be stopped, started and flushed."""

import signal
import subprocess
import uuid
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from kyma.machine import programs
from tests.support.live import START_DEADLINE_S, eventually
from tests.support.ports import free_port


class Valkey:
    def __init__(self, directory: Path):
        self._directory = directory
        self._port = free_port()
        self._process: subprocess.Popen | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def __enter__(self) -> "Valkey":
        self.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        self._process = subprocess.Popen(
            programs.redis(self._port).command, cwd=self._directory, stdout=subprocess.DEVNULL
        )
        eventually(self._answers, within_s=START_DEADLINE_S)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def suspend(self) -> None:
        """It hangs: it takes connections and bytes, and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str):
        with Redis.from_url(self.url) as client:
            return client.execute_command(*command)

    @staticmethod
    def unique(name: str) -> str:
        return f"{name}-{uuid.uuid4().hex}"

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except RedisError:
            return False
