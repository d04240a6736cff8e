"""Money as people read it: dollars, exact to the nano-dollar, without a float."""

from django import template

from billing import pricing

register = template.Library()


@register.filter
def usd(nano: int) -> str:
    """1500 → "$0.0000015", 10⁹ → "$1.00": all digits there are, and never less than cents."""
    return _shown(nano, decimals=2)


@register.filter
def column_usd(nano: int) -> str:
    """All nine digits, so that the amounts of a column stand below each other."""
    return _shown(nano, decimals=9)


@register.filter
def signed_column_usd(nano: int) -> str:
    """With a plus, where something came in."""
    return f"+{column_usd(nano)}" if nano > 0 else column_usd(nano)


def _shown(nano: int, *, decimals: int) -> str:
    whole, _, rest = pricing.usd(abs(nano)).partition(".")
    sign = "−" if nano < 0 else ""
    return f"{sign}${int(whole):,}.{rest:0<{decimals}}"
