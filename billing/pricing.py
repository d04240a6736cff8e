"""Computes what tokens cost.

Unit: nano-dollar (10⁻⁹ USD), a 64-bit integer. Token prices are nano-dollars per million
tokens. Each class of tokens is rounded up by itself, so that the lines of a receipt add up:
cost = Σ over classes of ⌈tokens × price / 10⁶⌉.
"""

import dataclasses

MILLION = 1_000_000
NANO_PER_USD = 1_000_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars per million tokens, per request and per image."""

    input: int
    cached_input: int
    output: int
    request: int = 0
    image: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in OpenAI's counting: `prompt` includes `cached`, `completion` the `reasoning`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    images: int = 0

    @property
    def is_zero(self) -> bool:
        return not (self.prompt or self.completion)


def tokens_nano(tokens: int, price: int) -> int:
    """Return the price of `tokens`, rounded up to the nano-dollar."""
    return -(-tokens * price // MILLION)


def cost_lines(price: Price, usage: Usage) -> dict[str, int]:
    """Return the cost of one request by class, in nano-dollars. A usage of zero costs nothing."""
    if usage.is_zero:
        return {"input": 0, "cached_input": 0, "output": 0, "request": 0, "image": 0}
    return {
        "input": tokens_nano(usage.prompt - usage.cached, price.input),
        "cached_input": tokens_nano(usage.cached, price.cached_input),
        "output": tokens_nano(usage.completion, price.output),
        "request": price.request,
        "image": usage.images * price.image,
    }


def cost_nano(price: Price, usage: Usage) -> int:
    return sum(cost_lines(price, usage).values())


def usd(nano: int) -> str:
    """Return nano-dollars as an exact decimal number of dollars: 1500 → "0.0000015"."""
    sign = "-" if nano < 0 else ""
    whole, rest = divmod(abs(nano), NANO_PER_USD)
    text = f"{sign}{whole}.{rest:09d}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def nano(dollars: str) -> int:
    """Return a decimal number of dollars as nano-dollars. Raises ValueError beyond 9 decimals."""
    whole, _, rest = dollars.strip().partition(".")
    if len(rest) > 9 or not (whole + rest).isdigit():
        raise ValueError(f"not an amount in dollars with at most 9 decimals: {dollars!r}")
    return int(whole + rest.ljust(9, "0"))
