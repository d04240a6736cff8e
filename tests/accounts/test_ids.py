import datetime as dt
import time

from accounts.ids import dashed, first_id_at, first_id_of, id_at, uuid7


def test_an_id_is_a_version_7_uuid():
    ids = [uuid7() for _ in range(1000)]
    assert {one.version for one in ids} == {7}
    assert {one.variant for one in ids} == {"specified in RFC 4122"}


def test_ids_differ():
    assert len({uuid7() for _ in range(10_000)}) == 10_000


def test_an_id_begins_with_its_millisecond():
    before = time.time_ns() // 1_000_000
    made = uuid7().int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_of_later_milliseconds_are_greater():
    first = uuid7()
    while uuid7().int >> 80 == first.int >> 80:
        pass
    assert uuid7() > first


def test_ids_come_in_the_order_in_which_they_are_made():
    ids = [uuid7() for _ in range(1000)]
    assert ids == sorted(ids)


def test_ids_of_a_moment_come_in_the_order_of_their_microseconds():
    first = dt.datetime(2026, 11, 24, 23, 59, 59, 997_000, dt.UTC)
    moments = [first + dt.timedelta(microseconds=late) for late in range(4000)]
    ids = [id_at(one) for one in moments]
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}
    assert {one.variant for one in ids} == {"specified in RFC 4122"}
    assert all(first_id_at(moment) < one for moment, one in zip(moments, ids, strict=True))


def test_an_id_of_a_moment_lies_among_those_that_are_made_then(monkeypatch):
    moment = dt.datetime(2026, 11, 24, 12, 0, 0, 123_456, dt.UTC)
    epoch_us = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    made = []
    for microseconds in (epoch_us - 1, epoch_us + 1):
        monkeypatch.setattr(time, "time_ns", lambda us=microseconds: us * 1000)
        made.append(uuid7())
    assert made[0] < id_at(moment) < made[1]


def test_days_part_the_ids_made_in_them(monkeypatch):
    day = dt.date(2026, 11, 24)
    last = dt.datetime(2026, 11, 24, 23, 59, 59, 999_000, dt.UTC)
    monkeypatch.setattr(time, "time_ns", lambda: int(last.timestamp() * 1000) * 1_000_000)
    assert first_id_of(day) < uuid7() < first_id_of(day + dt.timedelta(days=1))
    monkeypatch.setattr(time, "time_ns", lambda: int(last.timestamp() * 1000 + 1) * 1_000_000)
    assert uuid7() > first_id_of(day + dt.timedelta(days=1))


def test_the_text_of_ids_sorts_as_the_ids_do():
    ids = [uuid7() for _ in range(1000)]
    assert sorted(ids) == sorted(ids, key=str) == sorted(ids, key=lambda one: one.hex)


def test_an_id_is_shown_as_python_shows_it():
    made = uuid7()
    assert dashed(made.hex) == str(made)
