"""Filters that write money as dollars, exact to the nano-dollar, without a float."""

from django import template

from billing import pricing

register = template.Library()


@register.filter
def usd(nano: int) -> str:
    """Write all significant digits, at least cents: 1500 → "$0.0000015", 10⁹ → "$1.00"."""
    return _shown(nano, decimals=2)


@register.filter
def column_usd(nano: int) -> str:
    """Write all nine decimals, so that the amounts of a column line up."""
    return _shown(nano, decimals=9)


@register.filter
def signed_column_usd(nano: int) -> str:
    """Write all nine decimals, and a plus before a gain."""
    return f"+{column_usd(nano)}" if nano > 0 else column_usd(nano)


def _shown(nano: int, *, decimals: int) -> str:
    whole, _, rest = pricing.usd(abs(nano)).partition(".")
    sign = "−" if nano < 0 else ""
    return f"{sign}${int(whole):,}.{rest:0<{decimals}}"
