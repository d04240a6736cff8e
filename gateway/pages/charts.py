"""The geometry of the charts, which the template `gateway/_chart.html` writes as SVG.

The charts need no script and no inline style: their colours come from the stylesheet. Positions are
whole units of a box that the page stretches to the available room. Labels are text beside the SVG,
so that they don't stretch. A table below each chart shows the same numbers.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

SLOT = 100  # The width of one point in time.
GAP = 16
HEIGHT = 1000
# An axis ends at one of these, times a power of ten. Each of them has a whole half.
ENDS = (2, 4, 6, 8, 10)


@dataclasses.dataclass(frozen=True)
class Series:
    """One value for each label. None means that there is no value to show."""

    name: str
    values: Sequence[int | None]


@dataclasses.dataclass(frozen=True)
class Column:
    """One rectangle of a stacked column. `colour` is the number of its series."""

    colour: int
    x: int
    y: int
    height: int
    width: int = SLOT - GAP


@dataclasses.dataclass(frozen=True)
class Line:
    colour: int
    path: str


@dataclasses.dataclass(frozen=True)
class Slot:
    """One point in time: the area where the pointer shows its values, and its row in the table."""

    x: int
    label: str
    values: tuple[str, ...]
    tip: str
    width: int = SLOT


@dataclasses.dataclass(frozen=True)
class Chart:
    id: str
    title: str
    description: str
    names: tuple[str, ...]
    slots: tuple[Slot, ...]
    scale: tuple[str, ...]  # from the top down
    columns: tuple[Column, ...] = ()
    lines: tuple[Line, ...] = ()
    is_empty: bool = False
    height: int = HEIGHT
    middle: int = HEIGHT // 2

    @property
    def width(self) -> int:
        return SLOT * len(self.slots)

    @property
    def ticks(self) -> tuple[str, ...]:
        """The labels below the chart: the first, the middle and the last."""
        labels = [slot.label for slot in self.slots]
        return tuple(dict.fromkeys((labels[0], labels[len(labels) // 2], labels[-1])))


def columns(
    id: str,
    *,
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    show: Callable[[int], str],
) -> Chart:
    """Return a chart of columns over time, with the series stacked. None counts as 0."""
    slots = zip(*(one.values for one in series), strict=True)
    stacks = [[value or 0 for value in slot] for slot in slots]
    top = axis_end(max(map(sum, stacks), default=0))
    stacked = tuple(one for index, stack in enumerate(stacks) for one in _stack(index, stack, top))
    return _chart(id, title, labels, series, show, top, columns=stacked)


def _stack(index: int, values: Sequence[int], top: int) -> Iterator[Column]:
    below = 0
    for colour, value in enumerate(values, start=1):
        lower, upper = _scaled(below, top), _scaled(below + value, top)
        below += value
        if upper > lower:
            x = index * SLOT + GAP // 2
            yield Column(colour, x=x, y=HEIGHT - upper, height=upper - lower)


def lines(
    id: str,
    *,
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    show: Callable[[int], str],
) -> Chart:
    """Return a chart with a line for each series. The line has a gap where a value is None."""
    top = axis_end(max((value or 0 for one in series for value in one.values), default=0))
    drawn = tuple(
        Line(colour, _path(one.values, top)) for colour, one in enumerate(series, start=1)
    )
    return _chart(id, title, labels, series, show, top, lines=drawn)


def axis_end(peak: int) -> int:
    """Return the smallest round number that is at least `peak`."""
    power = 1
    while peak > ENDS[-1] * power:
        power *= 10
    return next(end * power for end in ENDS if end * power >= peak)


def _chart(id, title, labels, series, show, top, **marks) -> Chart:
    names = tuple(one.name for one in series)
    known = [value for one in series for value in one.values if value is not None]
    return Chart(
        id=id,
        title=title,
        description=_description(labels, series, show),
        names=names,
        slots=tuple(_slot(index, label, series, show) for index, label in enumerate(labels)),
        scale=(show(top), show(top // 2), show(0)),
        is_empty=not any(known),
        **marks,
    )


def _slot(index: int, label: str, series: Sequence[Series], show: Callable[[int], str]) -> Slot:
    values = tuple(_shown(one.values[index], show) for one in series)
    named = (f"{one.name} {value}" for one, value in zip(series, values, strict=True))
    return Slot(x=index * SLOT, label=label, values=values, tip=f"{label}: {', '.join(named)}")


def _shown(value: int | None, show: Callable[[int], str]) -> str:
    return "–" if value is None else show(value)


def _description(
    labels: Sequence[str], series: Sequence[Series], show: Callable[[int], str]
) -> str:
    """Describe the chart for people who can't see it: the peak of each series."""
    parts = []
    for one in series:
        peak = max((value or 0 for value in one.values), default=0)
        if peak:
            parts.append(f"{one.name}: at most {show(peak)}, at {labels[_peak_at(one, peak)]}.")
    return " ".join(parts) or "Nothing in this time."


def _peak_at(one: Series, peak: int) -> int:
    return list(one.values).index(peak)


def _path(values: Sequence[int | None], top: int) -> str:
    """Return the path of a line: it moves over gaps and draws a dot for a lone value."""
    steps, is_drawing = [], False
    for index, value in enumerate(values):
        if value is None:
            is_drawing = False
            continue
        point = f"{index * SLOT + SLOT // 2} {HEIGHT - _scaled(value, top)}"
        steps.append(f"L{point}" if is_drawing else f"M{point}h0")
        is_drawing = True
    return "".join(steps)


def _scaled(value: int, top: int) -> int:
    return value * HEIGHT // top
