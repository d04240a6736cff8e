"""What a text engine has to offer, and which one this process gets."""

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
        """Text never becomes a special token, whatever it spells. Safe from any thread."""

    def grammar_for(self, response_format: object) -> str | None:
        """The grammar that forces the format, or InvalidRequest. Safe from any thread."""

    def generate(
        self, prompt: list[int], sampling: Sampling, *, seed: int, cancelled: Callable[[], bool]
    ) -> Generator[bytes, None, None]:
        """One item per token, until the model ends its turn. Raises Abandoned once cancelled."""

    def embed(self, tokens: list[int], *, cancelled: Callable[[], bool]) -> list[float]:
        """A vector of length one. Raises Abandoned once cancelled."""


def load_engine() -> Engine:
    """The real model, or the placeholder with the reason why; never an exception."""
    if os.environ.get("KYMA_LOCAL_ENGINE") == "fallback":
        return FallbackEngine("KYMA_LOCAL_ENGINE=fallback")
    try:
        # Imported here because the wheel exists for few platforms.
        from kyma.machine.local_provider.llama_engine import LlamaEngine

        return LlamaEngine()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return FallbackEngine(str(error))
