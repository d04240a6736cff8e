"""The tiers: how much an account may do at once and per minute, by its purchases so far."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tier:
    """Rates are per minute; `model_requests` applies to each model alone."""

    purchases_usd: int
    requests: int
    model_requests: int
    tokens: int
    tokens_per_request: int
    max_open_holds: int


TIERS = (
    Tier(0, 30, 25, 200_000, 200_000, 8),
    Tier(5, 60, 40, 500_000, 500_000, 16),
    Tier(50, 120, 80, 2_000_000, 1_000_000, 32),
    Tier(250, 200, 150, 5_000_000, 3_000_000, 64),
    Tier(1000, 300, 200, 10_000_000, 10_000_000, 128),
)


def max_open_holds(tier: int, *, unlimited: bool) -> int | None:
    """Return how many requests an account may run at once; None means no limit."""
    return None if unlimited else TIERS[tier].max_open_holds
