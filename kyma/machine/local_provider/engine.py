"""The interface of a text engine, and the choice of this process's engine."""

import os
from collections.abc import Callable, Generator
from typing import Protocol

from kyma.machine.local_provider.fallback import FallbackEngine
from kyma.machine.local_provider.sampling import Sampling

MODEL_ID = "smollm2-135m"


class Engine(Protocol):
    name: str
    note: str
    context_length: int
    embedding_dimensions: int
    vocabulary_size: int
    turn_start: list[int]
    turn_end: list[int]

    def tokenize(self, text: str) -> list[int]:
        """Turn text into tokens, never into special ones. Thread-safe."""

    def grammar_for(self, response_format: object) -> str | None:
        """Return the grammar that forces the format, or raise InvalidRequest. Thread-safe."""

    def generate(
        self, prompt: list[int], sampling: Sampling, *, seed: int, cancelled: Callable[[], bool]
    ) -> Generator[bytes, None, None]:
        """Yield one item per token until the model ends its turn. Raises Abandoned if cancelled."""

    def embed(self, tokens: list[int], *, cancelled: Callable[[], bool]) -> list[float]:
        """Return a vector of length one. Raises Abandoned if cancelled."""


def load_engine() -> Engine:
    """Return the real model, or a placeholder that names the reason. Never raises."""
    if os.environ.get("KYMA_LOCAL_ENGINE") == "fallback":
        return FallbackEngine("KYMA_LOCAL_ENGINE=fallback")
    try:
        # The import stands here because the wheel exists for few platforms.
        from kyma.machine.local_provider.llama_engine import LlamaEngine

        return LlamaEngine()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return FallbackEngine(str(error))
