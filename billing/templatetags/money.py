"""Money as people read it: dollars, exact to the nano-dollar, without a float."""

from django import template

from billing import pricing

register = template.Library()


@register.filter
def usd(nano: int) -> str:
    """1500 → "$0.0000015", 10⁹ → "$1.00": all digits there are, and never less than cents."""
    whole, _, decimals = pricing.usd(abs(nano)).partition(".")
    sign = "-" if nano < 0 else ""
    return f"{sign}${int(whole):,}.{decimals:0<2}"


@register.filter
def signed_usd(nano: int) -> str:
    """With a plus, where something came in."""
    return f"+{usd(nano)}" if nano > 0 else usd(nano)
