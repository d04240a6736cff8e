"""Counts and times as people read them."""

from django import template

from gateway.pages import charts

register = template.Library()


@register.filter
def count(number: int) -> str:
    """1234567 → "1,234,567"."""
    return f"{number:,}"


@register.filter
def duration(ms: float | None) -> str:
    """1234.5 → "1.2 s"; below a second in milliseconds; a dash where there is none."""
    if ms is None:
        return "–"
    whole = round(ms)
    return f"{whole} ms" if whole < 1000 else f"{whole // 1000}.{whole % 1000 // 100} s"


@register.filter
def share_of(part: int, whole: int) -> int:
    """The width of a bar, in hundredths."""
    return charts.share(part, whole)
