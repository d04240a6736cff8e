"""Requests and answers that nobody thought of: either they are refused, or all of them is sound."""

import math
from types import ModuleType

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import embeddings as embedding_request
from gateway.dialects import text as text_request
from gateway.dialects.embeddings import embedding_list
from gateway.errors import InvalidRequest, Unprocessable
from gateway.failures import UpstreamFailed
from gateway.providers.body import upstream_body

_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=5),
)
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["index", "embedding", "text", "é"]), inner, max_size=3),
    ),
    max_leaves=6,
)
_likely = st.sampled_from(["a", ["a", "b"], [1, 2], [[1], [2, 3]], 1, True, 0.5])


def bodies(parser: ModuleType):
    names = [*parser.FORWARDED, *parser.READ, "provider", "unknown"]
    some = st.dictionaries(st.sampled_from(names), st.one_of(_likely, _values), max_size=5)
    return some.map(lambda fields: {"model": "m", "prompt": "a", "input": "a", **fields})


@pytest.mark.parametrize("parser", [text_request, embedding_request])
def test_a_request_that_is_taken_can_be_priced_and_sent(parser):
    @given(body=bodies(parser))
    def sound_or_refused(body: dict) -> None:
        try:
            request = parser.parse(body)
        except (InvalidRequest, Unprocessable):
            return
        assert request.prompts >= 1
        assert request.text_bytes + request.token_ids >= request.prompts
        assert request.max_tokens >= 0
        sent = upstream_body(
            request,
            upstream_model="up",
            max_tokens=request.max_tokens,
            passthrough=True,
            unsupported=frozenset(),
            wants_max_completion_tokens=False,
        )
        assert orjson.loads(sent)["model"] == "up"

    sound_or_refused()


_items = st.one_of(
    st.fixed_dictionaries(
        {"embedding": st.lists(st.one_of(st.floats(width=32), _leaves), max_size=2)},
        optional={"index": st.one_of(st.integers(0, 1), _values)},
    ),
    _values,
)


@given(data=st.one_of(st.lists(_items, max_size=3), _values))
def test_an_answer_that_is_taken_holds_finite_vectors_for_all_inputs(data):
    request = embedding_request.parse({"model": "m", "input": ["a", "b"]})
    try:
        accepted = request.accepted({"data": data})
    except UpstreamFailed:
        return
    assert len(accepted["vectors"]) == 2
    assert all(math.isfinite(number) for vector in accepted["vectors"] for number in vector)
    usage = {"prompt_tokens": 1, "total_tokens": 1, "cost": 0}
    answer = {"id": "i", "model": "m", "provider": "p", **accepted}
    for encoding in ("float", "base64"):
        assert orjson.dumps(embedding_list(answer, usage, {"encoding_format": encoding}))


_finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(vectors=st.lists(st.lists(_finite, min_size=2, max_size=2), min_size=1))
def test_vectors_of_finite_numbers_are_always_taken(vectors):
    request = embedding_request.parse({"model": "m", "input": ["a"] * len(vectors)})
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    assert request.accepted({"data": data})["vectors"] == vectors
