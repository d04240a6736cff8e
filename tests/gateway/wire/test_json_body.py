import asyncio
import json
import threading
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, InvalidRequest
from gateway.wire.body import MAX_CONTAINERS, MAX_DEPTH, MAX_PARTS, parse, parse_exactly, read


def nested(depth: int) -> bytes:
    """An object with lists in it, `depth` levels in all."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def refusal(raw: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        parse(raw)
    assert caught.value.status == 400
    assert caught.value.body("req_1")
    return caught.value.message


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"{}", {}),
        (b'{"a":1}', {"a": 1}),
        (b' {\n\t"a" : [1, 2.50, -0, 1E5, true, null]\r\n} ', {"a": [1, 2.5, 0, 1e5, True, None]}),
        (b'{"a":"\\u0000\\/\\ud83d\\ude00"}', {"a": "\0/\U0001f600"}),
        ('{"é":"ä"}'.encode(), {"é": "ä"}),
        (b'{"a":18446744073709551615}', {"a": 2**64 - 1}),
        (b'{"a": -9223372036854775808}', {"a": -(2**63)}),
        (b'{"a":{"b":1},"b":{"a":1}}', {"a": {"b": 1}, "b": {"a": 1}}),
        (
            b'{"a":"NaN and {\\"a\\":1,\\"a\\":1}"}',
            {"a": 'NaN and {"a":1,"a":1}'},
        ),
    ],
)
def test_it_reads_valid_json(raw, expected):
    assert parse(raw) == expected


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "body is empty"),
        (b" \r\n", "body is empty"),
        (b'{"a":"\xff"}', "not UTF-8 (at byte 6)"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8 (at byte 6)"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a":', "not valid JSON"),
        (b'{"a":1,}', "line 1, column 7"),
        (b'{"a":1,\n  b:2}', "line 2, column 3"),
        (b"{'a':1}", "line 1, column 2"),
        (b'{"a":1} {"b":2}', "line 1, column 9"),
        (b'{"a":"\x00"}', "control character"),
        (b"[]", "one JSON object"),
        (b'"a"', "one JSON object"),
        (b"1", "one JSON object"),
        (b"null", "one JSON object"),
        (b'{"a":NaN}', "no NaN or Infinity"),
        (b'{"a": [Infinity]}', "no NaN or Infinity"),
        (b'{"a": -Infinity}', "no NaN or Infinity"),
        (b'{"a":1e999}', "number is too large"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\\ude00\\ud83d"}', "surrogate"),
        (b'{"\\ud800":1}', "surrogate"),
        (b'{"a":18446744073709551616}', "doesn't fit 64 bits"),
        (b'{"a":[-9223372036854775809]}', "doesn't fit 64 bits"),
        (b'{"a":' + b"1" * 300 + b"}", "doesn't fit 64 bits"),
        (b'{"a":' + b"1" * 5000 + b"}", "too large"),
    ],
)
def test_it_refuses_what_is_not_a_json_object_and_says_why(raw, said):
    assert said in refusal(raw)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"model":"a","model":"b"}', '"model"'),
        (b'{"model": "a", "model": "a"}', '"model"'),
        (b'{"a":[{"b":{"c":1,"d":2,"c":3}}]}', '"c"'),
        (b'{"model":1,"\\u006dodel":2}', '"model"'),
        (b'{"":1,"":2}', '""'),
        (b'{"\\"":1,"\\"":2}', '"\\""'),
        (b'{"' + b"k" * 500 + b'":1,"' + b"k" * 500 + b'":2}', '"' + "k" * 64 + '"'),
    ],
)
def test_it_names_a_key_that_stands_twice(raw, key):
    assert f"The key {key} stands twice" in refusal(raw)


def test_it_takes_64_levels_and_refuses_65():
    assert MAX_DEPTH == 64
    assert parse(nested(64))
    assert parse(b'{"a":' * 63 + b"{}" + b"}" * 63)
    assert "at most 64 levels" in refusal(nested(65))
    assert "at most 64 levels" in refusal(b'{"a": ' * 64 + b"{}" + b"}" * 64)


def test_it_takes_a_hundred_thousand_objects_and_lists():
    most = orjson.dumps({"a": [[]] * (MAX_CONTAINERS - 2)})
    assert parse(most)
    assert "more than 100,000" in refusal(most.replace(b"[]]", b"[],{}]"))


def numbers(count: int) -> bytes:
    return b'{"a":[' + b",".join([b"1"] * count) + b"]}"


def test_it_takes_as_many_parts_as_are_allowed():
    around = 3  # the object, its key and the list
    most = numbers(MAX_PARTS + 1 - around)
    assert parse(most)
    assert f"more than {MAX_PARTS:,} values and keys" in refusal(most.replace(b"[1", b"[1,1"))


@pytest.mark.parametrize(
    "text",
    [b"1,", b"{:[", b'\\",', b"\\\\,", b'\\\\\\",[', "é,".encode()],
    ids=["commas", "brackets", "quotes", "backslashes", "both", "letters"],
)
def test_what_stands_in_texts_is_no_part(text):
    raw = b'{"a":"' + text * (MAX_PARTS + 1) + b'","b":["' + text * 3 + b'"]}'
    assert parse(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "costly",
    [
        b'{"a":[' + b",".join([b"[]"] * 3_000_000) + b"]}",
        b'{"a":[' + b",".join([b"[" * 60 + b"]" * 60] * 40_000) + b"]}",
        b'{"a":[' + b",".join([b'""'] * 3_000_000) + b"]}",
        b'{"a":[' + b",".join([b'"\\\\"'] * 1_500_000) + b"]}",
        b'{"a":"' + b"," * 500_000 + b'","b":[' + b",".join([b"1.5"] * 2_000_000) + b"]}",
        b'{"a":1' + b",".join([b""] + [b'"%x":1' % n for n in range(880_000)]) + b"}",
    ],
    ids=["lists", "deep lists", "texts", "texts of a backslash", "fractions", "keys"],
)
def test_it_refuses_too_many_parts_before_anything_is_made_of_them(costly, monkeypatch):
    def never(*_args, **_options):
        pytest.fail("it was read")

    monkeypatch.setattr(orjson, "loads", never)
    assert "more than 400,000 values and keys" in refusal(costly)


def is_on_the_loop(raw: bytes) -> bool:
    _, thread = asyncio.run(read(raw, lambda body: threading.current_thread()))
    return thread is threading.main_thread()


def test_only_costly_bodies_are_read_in_a_thread():
    assert is_on_the_loop(b'{"a":"' + b"x" * 200_000 + b'"}')
    assert is_on_the_loop(numbers(3_000))
    assert not is_on_the_loop(b'{"a":"' + b"x" * 300_000 + b'"}')
    assert not is_on_the_loop(numbers(10_000))


def test_a_refusal_comes_out_of_the_thread():
    with pytest.raises(InvalidRequest, match="stands twice"):
        asyncio.run(read(numbers(10_000)[:-1] + b',"a":1}', lambda body: body))


def test_it_counts_levels_and_not_brackets():
    flat = {"a": [[] for _ in range(1000)], "b": "[" * 1000}
    assert parse(orjson.dumps(flat)) == flat


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'[{"a":' * 50_000,
        nested(100_000),
        nested(1_000),
        b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
        b'{"a":[' + b",".join([b"[" * 900 + b"]" * 900] * 100) + b"]}",
    ],
)
def test_it_refuses_bombs_before_anything_recurses(bomb, monkeypatch):
    def never(*_args, **_options):
        pytest.fail("the recursive reader was reached")

    monkeypatch.setattr(json, "loads", never)
    assert "at most 64 levels" in refusal(bomb)


def test_it_reads_compact_json_once(monkeypatch):
    def never(*_args, **_options):
        pytest.fail("read twice")

    monkeypatch.setattr(json, "loads", never)
    assert parse('{"a":[1,1.5,"é\\n"],"b":null}'.encode()) == {"a": [1, 1.5, "é\n"], "b": None}


def test_amounts_of_money_are_read_exactly():
    assert parse_exactly(b'{"a":0.1000000000000000055,"b":1e-9}') == {
        "a": Decimal("0.1000000000000000055"),
        "b": Decimal("1e-9"),
    }


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("0." + 39 * "1", "longer than 40 characters"),
        ("1e-99999999999999999999", "an exponent that doesn't fit"),
    ],
)
def test_a_number_that_can_not_be_read_exactly_is_refused(number, said):
    with pytest.raises(InvalidRequest, match=said):
        parse_exactly(f'{{"a":{number}}}'.encode())


def parsed_or_refused(raw: bytes) -> dict | None:
    try:
        return parse(raw)
    except GatewayError as error:
        error.body("req_1")
        return None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(
    value=st.dictionaries(st.text(), json_values),
    indent=st.none() | st.just(1),
    ascii_only=st.booleans(),
)
def test_what_it_returns_can_be_written_and_read_again(value, indent, ascii_only):
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    body = parsed_or_refused(raw)
    if body is not None:
        assert body == json.loads(raw)
        assert parse(orjson.dumps(body)) == body


@given(raw=st.binary() | st.text('{}[]":,\\u0d8 1-e.N\n').map(str.encode))
def test_arbitrary_bytes_raise_nothing_but_a_gateway_error(raw):
    parsed_or_refused(raw)
