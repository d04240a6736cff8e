"""The sampling parameters of a request, and their checks."""

import secrets
from dataclasses import dataclass

from kyma.machine.local_provider import fields
from kyma.machine.local_provider.errors import InvalidRequest

MAX_CHOICES = 4
MAX_STOPS = 16
DEFAULT_MAX_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The sampling parameters of a request.

    The defaults of temperature and top_p come from SmolLM2's model card: a model this small talks
    nonsense at OpenAI's 1.0.
    """

    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 0.2
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    repetition_penalty: float = 1.1
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    n: int = 1
    stop: tuple[str, ...] = ()
    grammar: str | None = None


def read_sampling(body: dict, *, grammar: str | None) -> Sampling:
    base = Sampling
    return Sampling(
        max_tokens=_max_tokens(body),
        temperature=fields.number(body, "temperature", default=base.temperature, low=0, high=2),
        top_p=fields.number(body, "top_p", default=base.top_p, low=0, high=1),
        top_k=fields.integer(body, "top_k", default=base.top_k, low=-1, high=1_000_000),
        min_p=fields.number(body, "min_p", default=base.min_p, low=0, high=1),
        seed=_seed(body),
        repetition_penalty=fields.number(
            body, "repetition_penalty", default=base.repetition_penalty, low=0.01, high=2
        ),
        frequency_penalty=fields.number(body, "frequency_penalty", default=0.0, low=-2, high=2),
        presence_penalty=fields.number(body, "presence_penalty", default=0.0, low=-2, high=2),
        n=fields.integer(body, "n", default=1, low=1, high=MAX_CHOICES),
        stop=_stop(body),
        grammar=grammar,
    )


def _max_tokens(body: dict) -> int:
    old_name = fields.integer(body, "max_tokens", default=DEFAULT_MAX_TOKENS, low=1)
    return fields.integer(body, "max_completion_tokens", default=old_name, low=1)


def _seed(body: dict) -> int:
    seed = fields.integer(body, "seed", default=None)
    return secrets.randbits(31) if seed is None else seed


def _stop(body: dict) -> tuple[str, ...]:
    value = body.get("stop")
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise InvalidRequest("stop must be a text or a list of texts, none empty.", param="stop")
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(f"stop may hold at most {MAX_STOPS} texts.", param="stop")
    return tuple(stops)
