"""What an account may do at once, by what it has bought over its lifetime."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tier:
    purchases_usd: int
    max_open_holds: int


TIERS = (
    Tier(purchases_usd=0, max_open_holds=8),
    Tier(purchases_usd=5, max_open_holds=16),
    Tier(purchases_usd=50, max_open_holds=32),
    Tier(purchases_usd=250, max_open_holds=64),
    Tier(purchases_usd=1000, max_open_holds=128),
)


def max_open_holds(tier: int, *, unlimited: bool) -> int | None:
    """How many requests an account may run at once; None is no limit."""
    return None if unlimited else TIERS[tier].max_open_holds
