"""Charts: geometry in whole numbers, within the box, with every number beside it as text."""

import pytest
from django.template.loader import render_to_string
from hypothesis import given
from hypothesis import strategies as st

from gateway.pages import charts
from gateway.pages.charts import HEIGHT, SLOT, Series
from gateway.templatetags import figures

AMOUNTS = st.integers(0, 10**18)
STACKS = st.integers(1, 40).flatmap(
    lambda length: st.lists(
        st.lists(AMOUNTS, min_size=length, max_size=length), min_size=1, max_size=3
    )
)


def columns(*values, **options):
    labels = [f"day {number}" for number in range(len(values[0]))]
    series = [Series(f"series {number}", row) for number, row in enumerate(values)]
    return charts.columns("id", title="Title", labels=labels, series=series, show=str, **options)


@given(STACKS)
def test_columns_stand_on_each_other_within_the_box(values):
    chart = columns(*values)
    floors = {}
    for one in chart.columns:
        assert one.y + one.height == floors.get(one.x, HEIGHT)
        assert one.y >= 0
        assert one.x + one.width <= chart.width
        floors[one.x] = one.y
    assert chart.width == SLOT * len(values[0])


@given(AMOUNTS)
def test_an_axis_ends_at_a_round_number_that_can_be_halved(peak):
    end = charts.axis_end(peak)
    assert end >= peak
    assert end % 2 == 0
    assert len(str(end).rstrip("0")) == 1
    assert end <= max(2, peak * 2)


def test_the_highest_column_of_a_round_peak_reaches_the_top():
    chart = columns([5, 10])
    assert [(one.y, one.height) for one in chart.columns] == [(500, 500), (0, 1000)]
    assert chart.scale == ("10", "5", "0")


def test_a_line_breaks_where_there_is_no_value():
    chart = charts.lines(
        "id", title="T", labels="abcd", series=[Series("one", [1, None, 2, 2])], show=str
    )
    (line,) = chart.lines
    assert line.path == "M50 500h0M250 0h0L350 0"
    assert chart.slots[1].values == ("–",)


def test_what_a_screen_reader_says_names_the_peaks():
    assert columns([1, 3], [0, 0]).description == "series 0: at most 3, at day 1."


@pytest.mark.parametrize(
    ("part", "whole", "hundredths"), [(0, 5, 0), (1, 1000, 1), (1, 2, 50), (7, 7, 100), (1, 0, 0)]
)
def test_a_share_that_is_something_shows_as_something(part, whole, hundredths):
    assert figures.share_of(part, whole) == hundredths


def test_a_chart_has_a_name_a_description_and_a_table_twin_and_no_style():
    text = render_to_string("gateway/_chart.html", {"chart": columns([7, 11], [1, 2])})
    assert 'role="img" aria-labelledby="id-svg-title id-svg-desc"' in text
    for number in ("7", "11", "1", "2"):
        assert f'<td class="number">{number}</td>' in text
    assert "style" not in text


def test_a_chart_of_nothing_says_so():
    text = render_to_string("gateway/_chart.html", {"chart": columns([0, 0])})
    assert "Nothing in this time." in text
    assert "<svg" not in text


def test_labels_are_text_and_no_markup():
    chart = charts.columns(
        "id", title="<b>", labels=["<i>"], series=[Series("<u>", [1])], show=lambda number: "<s>"
    )
    text = render_to_string("gateway/_chart.html", {"chart": chart})
    assert not any(tag in text for tag in ("<b>", "<i>", "<u>", "<s>"))
