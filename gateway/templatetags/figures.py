"""Template filters that write counts, times and shares for people."""

from django import template

register = template.Library()


@register.filter
def count(number: int) -> str:
    """Write a count with commas: 1234567 → "1,234,567"."""
    return f"{number:,}"


@register.filter
def thousands(count: int) -> str:
    """Write a number of tokens, in thousands from 10,000 on: 131072 → "131K"."""
    return f"{count // 1000:,}K" if count >= 10_000 else f"{count:,}"


@register.filter
def duration(ms: int | None) -> str:
    """Write a duration: 1234 → "1.2 s", 123 → "123 ms", None → a dash."""
    if ms is None:
        return "–"
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


@register.filter
def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:g} %"


@register.filter
def at_least(count: int) -> str:
    """Write the least possible number of samples, because only that is known."""
    return f"{count:,}+" if count else "< 20"


@register.filter
def share_of(part: int, whole: int) -> int:
    """Return the width of a bar: `part` in hundredths of `whole`.

    A positive part gets at least 1, so that it can be seen.
    """
    if part <= 0 or whole <= 0:
        return 0
    return max(1, min(100, part * 100 // whole))
