"""Counts, times and shares as people read them."""

from django import template

register = template.Library()


@register.filter
def count(number: int) -> str:
    """1234567 → "1,234,567"."""
    return f"{number:,}"


@register.filter
def thousands(count: int) -> str:
    """A number of tokens: 131,072 → "131K"."""
    return f"{count // 1000:,}K" if count >= 10_000 else f"{count:,}"


@register.filter
def duration(ms: int | None) -> str:
    """1234 → "1.2 s"; below a second in milliseconds; a dash where there is none."""
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
def share_of(part: int, whole: int) -> int:
    """The width of a bar, in hundredths."""
    return share(part, whole)


def share(part: int, whole: int) -> int:
    """How many hundredths of `whole` a part is; what is something shows as something."""
    if part <= 0 or whole <= 0:
        return 0
    return max(1, min(100, part * 100 // whole))
