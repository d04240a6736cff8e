"""The reading of `prompt` and `input`: one or many texts, or lists of tokens."""

from kyma.machine.local_provider.engine import Engine
from kyma.machine.local_provider.errors import InvalidRequest

Input = str | list[int]


def read_inputs(body: dict, name: str, *, limit: int, vocabulary: int) -> list[Input]:
    """Return a list with at least one input, and without empty ones."""
    value = body.get(name)
    inputs = [value] if isinstance(value, str) or _is_tokens(value) else value
    if not isinstance(inputs, list) or not inputs:
        raise _refusal(name, "must be a text, a list of texts, or tokens")
    if len(inputs) > limit:
        raise _refusal(name, f"may hold at most {limit} items")
    for item in inputs:
        if not isinstance(item, str) and not _is_tokens(item):
            raise _refusal(name, "must be a text, a list of texts, or tokens")
        if not item:
            raise _refusal(name, "must not be empty")
        if not isinstance(item, str) and not all(0 <= token < vocabulary for token in item):
            raise _refusal(name, f"holds a token outside 0 to {vocabulary - 1}")
    return inputs


def input_tokens(engine: Engine, inputs: list[Input]) -> list[list[int]]:
    return [engine.tokenize(item) if isinstance(item, str) else item for item in inputs]


def _is_tokens(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(token, int) and not isinstance(token, bool) for token in value)
    )


def _refusal(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{name} {what}.", param=name)
