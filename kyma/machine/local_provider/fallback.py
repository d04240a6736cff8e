"""The engine for machines on which the real engine can't be loaded.

It answers with a fixed text that says so. Tokens, counts, limits and streaming work as with a
model, and the same request always gets the same answer.
"""

import hashlib
import math
import re
from collections.abc import Callable, Generator

from kyma.machine.local_provider.errors import Abandoned, InvalidRequest
from kyma.machine.local_provider.sampling import Sampling

# A token is up to five characters of a word with the space before it, or one space.
TOKEN = re.compile(r"\s?\S{1,5}|\s")
ANSWER = (
    "This is Kyma's demo engine without a model: your request arrived here with {tokens} prompt "
    "tokens, and this fixed text is all that it can answer. With the real model installed, "
    "SmolLM2-135M would have written something here."
)


class FallbackEngine:
    name = "fallback"
    context_length = 8192
    embedding_dimensions = 576
    vocabulary_size = 49152
    turn_start = [1]
    turn_end = [2]

    def __init__(self, reason: str):
        self.note = f"a placeholder without a model, because of: {reason}"

    def tokenize(self, text: str) -> list[int]:
        return [self._token(piece) for piece in TOKEN.findall(text)]

    def grammar_for(self, response_format: object) -> None:
        kind = response_format.get("type") if isinstance(response_format, dict) else None
        if response_format is not None and kind != "text":
            raise InvalidRequest(
                "Kyma's demo engine without a model can answer in plain text only.",
                param="response_format",
                code="unsupported_value",
            )

    def generate(
        self, prompt: list[int], sampling: Sampling, *, seed: int, cancelled: Callable[[], bool]
    ) -> Generator[bytes, None, None]:
        for piece in TOKEN.findall(ANSWER.format(tokens=len(prompt))):
            if cancelled():
                raise Abandoned
            yield piece.encode()

    def embed(self, tokens: list[int], *, cancelled: Callable[[], bool]) -> list[float]:
        """Return a vector of the text's bag of tokens: texts that share tokens are closer."""
        vector = [0.0] * self.embedding_dimensions
        for token in tokens:
            digest = hashlib.sha256(str(token).encode()).digest()
            for i in range(0, 16, 2):
                place = int.from_bytes(digest[i : i + 2], "big") % self.embedding_dimensions
                vector[place] += 1.0 if digest[16 + i] & 1 else -1.0
        norm = math.sqrt(sum(x * x for x in vector)) or 1.0
        return [x / norm for x in vector]

    def _token(self, piece: str) -> int:
        digest = hashlib.sha256(piece.encode("utf-8", "replace")).digest()
        # The lowest ids are reserved for the turn marks.
        return 3 + int.from_bytes(digest[:4], "big") % (self.vocabulary_size - 3)
