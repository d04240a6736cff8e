"""Bodies that nobody thought of: valid ones, mutated as JSON and then as bytes.

Whatever comes, the answer is a 200 or a 4xx with an error that can be read, and the books add up.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commits import reconcile
from tests.support.counts import counts
from tests.support.gateway.chat_bodies import (
    CALLING,
    GIVEN,
    HELLO,
    IMAGE,
    NEVER_FORWARDED,
    PIXEL,
    REPLY,
)
from tests.support.gateway.http_client import error_of
from tests.support.gateway.wire_client import CHAT
from tests.support.live import DEADLINE_S, USD, Customer, data_of, eventually

PARTS = [
    {"type": "text", "text": "What is this?"},
    IMAGE,
    {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
]
CONVERSATION = [
    {"role": "system", "content": "Be brief.", "name": "x"},
    {"role": "user", "content": PARTS},
    {**CALLING, "reasoning": "hm", "reasoning_details": [{"type": "x"}]},
    REPLY,
    {"role": "developer", "content": [{"type": "text", "text": "…"}]},
    HELLO,
]
WHOLE = {
    "model": "scripted",
    "messages": CONVERSATION,
    "stream": False,
    "max_tokens": 50,
    "n": 2,
    **GIVEN,
    **NEVER_FORWARDED,
    "unknown": {"a": [1, {"b": None}]},
}
BASES = [
    {"model": "scripted", "messages": [HELLO]},
    {"model": "scripted", "messages": CONVERSATION, "stream": True},
    {**WHOLE, "stream": True, "stream_options": {"include_usage": True}},
    WHOLE,
]
EXPECTED = {200, 400, 402, 404, 413, 422}  # 404: wishes that no route fulfils.

_numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 1e308, -0.0, 10**400]),
)
_texts = st.one_of(
    st.text(st.characters(codec=None), max_size=20),  # Lone surrogates too.
    st.sampled_from(["", "\x00", "scripted", "user", "auto", "text", "https://x", 3000 * "x"]),
)
_leaves = st.one_of(st.none(), st.booleans(), _numbers, _texts)
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(["type", "url", "name"]), _texts), inner),
    ),
    max_leaves=6,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with each of its keys or indexes."""
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield value, key
            yield from places(value[key])


def deepened(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


@st.composite
def bodies(draw) -> bytes:
    body = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(0, 3))):
        mutate(draw, body)
    as_ascii = draw(st.booleans())
    raw = json.dumps(body, ensure_ascii=as_ascii).encode(errors="surrogatepass")
    return damaged(draw, raw) if draw(st.integers(0, 5)) == 5 else raw


def mutate(draw, body: dict) -> None:
    container, key = draw(st.sampled_from(list(places(body)) or [(body, "model")]))
    kind = draw(st.sampled_from(["replace", "replace", "remove", "add", "repeat", "wrap"]))
    if kind == "replace":
        container[key] = draw(_values)
    elif kind == "remove" and container:
        del container[key]
    elif kind == "add" and isinstance(container, dict):
        container[draw(_texts)] = draw(_values)
    elif kind == "repeat" and isinstance(container, list):
        container += [container[key]] * draw(st.sampled_from([1, 20, 129, 2001]))
    elif kind == "wrap" and key in container:
        container[key] = deepened(container[key], draw(st.sampled_from([1, 60, 100, 300])))


def damaged(draw, raw: bytes) -> bytes:
    at = draw(st.integers(0, len(raw)))
    to = draw(st.integers(at, min(len(raw), at + 20)))
    return raw[:at] + draw(st.binary(max_size=8)) + draw(st.sampled_from([raw[to:], b""]))


@pytest.mark.parametrize("examples", counts(150, proof=500, endurance=2000))
def test_no_body_makes_it_stumble(gateway, examples):
    customer = Customer(gateway, balance_nano=1000 * USD, unlimited=True)
    statuses = []

    @settings(max_examples=examples)
    @given(raw=bodies())
    def always_a_clear_answer(raw: bytes) -> None:
        response = session.post(gateway.url + CHAT, data=raw, timeout=DEADLINE_S)
        statuses.append(response.status_code)
        assert response.status_code in EXPECTED, response.text
        if response.status_code != 200:
            assert error_of(response)["message"].endswith(".")
        elif response.headers["Content-Type"] == "text/event-stream; charset=utf-8":
            assert data_of(response)[-1] == "[DONE]"
        else:
            assert response.json()["usage"]["cost"] >= 0

    with requests.Session() as session:
        session.headers.update({**customer.headers, "Content-Type": "application/json"})
        always_a_clear_answer()
    check_books(customer, statuses)


def check_books(customer: Customer, statuses: list[int]) -> None:
    """One row for each request, nothing held, and what was charged is what was answered."""
    rows = eventually(customer.requests, lambda rows: len(rows) >= len(statuses))
    assert sorted(row.status for row in rows) == sorted(statuses)
    assert {200, 400} <= set(statuses)
    assert customer.holds() == []
    charged = {entry.request_id: -entry.amount_nano for entry in customer.usage_entries()}
    assert charged == {row.id: row.cost_nano for row in rows if row.cost_nano}
    assert all(row.status == 200 for row in rows if row.cost_nano)
    assert list(reconcile.differences(customer.account.id)) == []
