"""The reading of JSON bodies: each function returns a value of the right type or raises a 400.

``null`` counts as a missing field, as it does with OpenAI.
"""

import json

from aiohttp import web

from kyma.machine.local_provider.errors import InvalidRequest


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not JSON")


async def read_body(request: web.Request) -> dict:
    raw = await request.read()
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body


def flag(body: dict, name: str) -> bool:
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false.", param=name)
    return value


def integer(body: dict, name: str, *, default, low: int | None = None, high: int | None = None):
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest(f"{name} must be a whole number.", param=name)
    _check_range(value, name, low, high)
    return value


def number(body: dict, name: str, *, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidRequest(f"{name} must be a number.", param=name)
    _check_range(value, name, low, high)
    return float(value)


def _check_range(value, name: str, low, high) -> None:
    if low is not None and value < low:
        raise InvalidRequest(f"{name} must be at least {low}.", param=name)
    if high is not None and value > high:
        raise InvalidRequest(f"{name} must be at most {high}.", param=name)


def refuse_given(body: dict, unsupported: dict[str, str]) -> None:
    """Refuse parameters that this provider would otherwise silently ignore."""
    for name, what in unsupported.items():
        value = body.get(name)
        # No plain truth test: `logprobs` may be 0 in the completions API and asks for something.
        if value is None or value is False or value in ([], {}, ""):
            continue
        raise InvalidRequest(
            f"{what} not supported by this model; leave out {name}.",
            param=name,
            code="unsupported_parameter",
        )
