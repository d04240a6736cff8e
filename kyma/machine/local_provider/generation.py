"""The story of one answer, told as events, the same for every engine and both text endpoints."""

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
    """Every prompt n times, one after the other: Opening, its Pieces, Ending."""
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
    """Counts every token that the model made, those of a stop text too, but not its end-of-turn."""
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
