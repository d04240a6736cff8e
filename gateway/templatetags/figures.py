"""Numbers as people read them."""

from django import template

from billing import pricing

register = template.Library()


@register.filter
def usd(nano: int) -> str:
    """Nano-dollars, exact, with cents at the least: "$0.50"."""
    whole, _, rest = pricing.usd(nano).partition(".")
    return f"${whole}.{rest.ljust(2, '0')}"


@register.filter
def duration(ms: int | None) -> str:
    if ms is None:
        return "–"
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


@register.filter
def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:g} %"


@register.filter
def at_least(count: int) -> str:
    """How many samples there were, as roughly as they are known."""
    return f"{count:,}+" if count else "< 20"


@register.filter
def thousands(count: int) -> str:
    """A number of tokens: 131,072 → "131K"."""
    return f"{count // 1000:,}K" if count >= 10_000 else f"{count:,}"
