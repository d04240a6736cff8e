"""The generation of one answer as events, for every engine and both text endpoints."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

from kyma.machine.local_provider.answer_text import AnswerText
from kyma.machine.local_provider.engine import Engine
from kyma.machine.local_provider.sampling import Sampling


@dataclass(frozen=True)
class Opening:
    index: int


@dataclass(frozen=True)
class Piece:
    index: int
    text: str


@dataclass(frozen=True)
class Ending:
    index: int
    finish_reason: str
    completion_tokens: int


Event = Opening | Piece | Ending


def generate(
    engine: Engine, prompts: list[list[int]], sampling: Sampling, cancelled: Callable[[], bool]
) -> Generator[Event, None, None]:
    """Answer every prompt n times in sequence. An answer is an Opening, Pieces and an Ending."""
    for index in range(len(prompts) * sampling.n):
        yield Opening(index)
        yield from _answer(engine, index, prompts[index // sampling.n], sampling, cancelled)


def _answer(
    engine: Engine,
    index: int,
    prompt: list[int],
    sampling: Sampling,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, None]:
    """Generate one answer. Its count includes a stop text's tokens, but not the end-of-turn."""
    text = AnswerText(sampling.stop)
    limit = min(sampling.max_tokens, engine.context_length - len(prompt))
    reason, count = "stop", 0
    tokens = engine.generate(prompt, sampling, seed=sampling.seed + index, cancelled=cancelled)
    with closing(tokens):
        for token in tokens:
            count += 1
            if piece := text.feed(token):
                yield Piece(index, piece)
            if text.stopped:
                break
            if count == limit:
                reason = "length"
                break
    if rest := text.finish():
        yield Piece(index, rest)
    yield Ending(index, reason, count)
