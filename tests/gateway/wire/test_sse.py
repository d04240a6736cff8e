"""Server-sent events are the same at whatever borders their bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.sse import (
    BOM,
    DONE,
    KEEP_ALIVE,
    MAX_EVENT_BYTES,
    EventParser,
    EventTooLarge,
    event,
)

MOST_DATA = MAX_EVENT_BYTES - len(b"data: ")


def parse(*pieces: bytes) -> list[bytes]:
    parser = EventParser()
    events = [one for piece in pieces for one in parser.feed(piece)]
    return events + parser.finish()


def outcome(*pieces: bytes) -> list[bytes] | str:
    try:
        return parse(*pieces)
    except EventTooLarge:
        return "too large"


def cut(text: bytes, borders: list[int]) -> list[bytes]:
    """`text` in pieces that end at `borders`, some of them empty."""
    at = [0, *sorted(border % (len(text) + 1) for border in borders), len(text)]
    return [text[start:end] for start, end in zip(at, at[1:], strict=False)]


# --- The grammar ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"", []),
        (b"\n\n\n", []),
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a \n\n", [b" a "]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b"data:\ndata:\n\n", [b"\n"]),
        (b"data: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"event: x\nid: 1\nretry: 9\ndata: a\n\n", [b"a"]),
        (b"event: x\n\ndata: a\n\n", [b"a"]),
        (b": comment\n\ndata: a\n: another\ndata: b\n\n", [b"a\nb"]),
        (KEEP_ALIVE + event(b"a") + KEEP_ALIVE, [b"a"]),
        (b"database: a\ndat: b\n data: c\nDATA: d\n\n", []),
        (b"data: [DONE]\n\n", [b"[DONE]"]),
        (b'data: "\xc3\xa9"\n\n', ['"é"'.encode()]),
        # It ended without its blank line, or in the middle of its line end.
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"data: a\r", [b"a"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        # A byte order mark counts at the beginning alone.
        (BOM + b"data: a\n\n", [b"a"]),
        (BOM, []),
        (BOM[:2] + b"data: a\n\n", []),
        (BOM + BOM + b"data: a\n\n", []),
        (b"\n" + BOM + b"data: a\n\n", []),
    ],
)
def test_what_a_stream_says(text, events):
    assert parse(text) == events


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_in_any_of_three_ways(end):
    text = b": hello\n\ndata: a\ndata: b\n\nevent: x\ndata: c\n\ndata: d\n\n"
    assert parse(text.replace(b"\n", end)) == [b"a\nb", b"c", b"d"]


def test_three_ways_to_end_a_line_may_be_mixed():
    assert parse(b"data: a\r\rdata: b\n\r\ndata: c\r\n\ndata: d\r\n\r\n") == [
        b"a",
        b"b",
        b"c",
        b"d",
    ]


def test_an_event_is_given_as_soon_as_its_blank_line_is_there():
    parser = EventParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\ndata: b\r\n\r\nda") == [b"a", b"b"]
    assert parser.feed(b"ta: c\n\n") == [b"c"]
    assert parser.finish() == []


def test_what_is_written_is_read():
    assert parse(event(b'{"a": 1}') + KEEP_ALIVE + DONE) == [b'{"a": 1}', b"[DONE]"]


# --- Borders -------------------------------------------------------------------------------------

line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
lines = st.one_of(
    st.sampled_from([b"", b"", b"data", b"data:", b": ping", b"event: x", b"data: [DONE]", BOM]),
    st.text(max_size=12).map(lambda text: b"data: " + text.encode()),
    st.binary(max_size=8),
)
streams = st.lists(st.tuples(lines, line_ends), max_size=12).map(
    lambda parts: b"".join(line + end for line, end in parts)
)


@given(
    start=st.sampled_from([b"", BOM, BOM[:1], BOM[:2]]),
    text=streams,
    borders=st.lists(st.integers(0, 10**6), max_size=20),
)
def test_borders_change_nothing(start, text, borders):
    whole = start + text
    assert parse(*cut(whole, borders)) == parse(whole)


@given(start=st.sampled_from([b"", BOM]), text=streams)
def test_one_byte_after_the_other_is_the_same_stream(start, text):
    whole = start + text
    assert parse(*(bytes([byte]) for byte in whole)) == parse(whole)


PACKETS = [
    *(b"data: a\n\n", b"data: \n\n", b"data:b\n\n", b"data: a\rb\n\n", b"data: a\r\n\r\n"),
    *(b"data: a\nb\n\n", b"data: a\n", b"data: a", b"\n\n", b"\n", b": c\n\n", b"event: d\n", BOM),
]


@given(packets=st.lists(st.sampled_from(PACKETS), max_size=6))
def test_events_in_packets_of_their_own_are_those_of_one_piece(packets):
    assert parse(*packets) == parse(b"".join(packets))


def test_every_border_in_a_real_stream():
    text = BOM + 'data: {"content": "Grüße 🌍"}\r\n\r\n: ping\n\ndata: [DONE]\n\n'.encode()
    expected = ['{"content": "Grüße 🌍"}'.encode(), b"[DONE]"]
    for border in range(len(text) + 1):
        assert parse(text[:border], text[border:]) == expected


# --- Size ----------------------------------------------------------------------------------------


def test_an_event_of_a_megabyte_passes_and_one_byte_more_does_not():
    data = b"x" * MOST_DATA
    assert parse(event(data)) == [data]
    assert outcome(event(data + b"x")) == "too large"


@pytest.mark.parametrize(
    "text",
    [
        event(b"x" * (MOST_DATA + 1)),
        b"data: " + b"x" * MAX_EVENT_BYTES,
        b"x" * (MAX_EVENT_BYTES + 1),
        b":" + b"x" * MAX_EVENT_BYTES + b"\n",
        (b"data: " + b"x" * 999 + b"\n") * 1000 + b"\n",
    ],
    ids=["line", "unfinished line", "no field", "comment", "many lines"],
)
def test_what_is_too_large_is_so_in_one_piece_and_in_many(text):
    assert outcome(text) == "too large"
    pieces = cut(text, list(range(0, len(text), 50_000)))
    assert outcome(*pieces) == "too large"


def test_it_is_found_before_the_event_is_complete():
    parser = EventParser()
    parser.feed(b"data: " + b"x" * MOST_DATA)
    with pytest.raises(EventTooLarge):
        parser.feed(b"x")


def test_the_size_is_that_of_one_event():
    half = b"data: " + b"x" * 600_000 + b"\n"
    assert len(parse(half + b"\n" + half + b"\n")) == 2
    assert len(parse(half, b"\n" + half, b"\n")) == 2
    assert len(parse(half, b"\n" + half[:500_000], half[500_000:])) == 2


@given(
    sizes=st.lists(st.sampled_from([3, 400_000, MOST_DATA - 1, MOST_DATA, MOST_DATA + 1])),
    end=line_ends,
    borders=st.lists(st.integers(0, 10**7), max_size=6),
)
def test_borders_do_not_change_what_is_too_large(sizes, end, borders):
    text = b"".join(b"data: " + b"x" * size + end * 2 for size in sizes[:4])
    assert outcome(*cut(text, borders)) == outcome(text)
