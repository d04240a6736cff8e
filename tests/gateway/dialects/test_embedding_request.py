"""Which inputs Kyma embeds, and which vectors it believes a provider."""

import base64
import struct

import orjson
import pytest

from gateway.dialects.embeddings import embedding_list, parse
from gateway.failures import Declined, Garbled
from gateway.providers.body import upstream_body
from tests.support.gateway.chat_bodies import NEVER_FORWARDED
from tests.support.gateway.endpoint_answers import VECTORS, refusal

USAGE = {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7, "cost": 0.1}


def body_with(**fields) -> dict:
    return {"model": "best", "input": "Once", **fields}


def forwarded(body: dict, *, passthrough: bool = False) -> dict:
    sent = upstream_body(
        parse(body),
        upstream_model="org/upstream",
        max_tokens=0,
        passthrough=passthrough,
        unsupported=frozenset(),
        wants_max_completion_tokens=True,
    )
    return orjson.loads(sent)


def item(index: object, embedding: object) -> dict:
    return {"object": "embedding", "index": index, "embedding": embedding}


def accepted(data: object, **fields) -> list:
    request = parse(body_with(input=["a", "b"], **fields))
    return request.accepted({"data": data, "usage": None})["vectors"]


@pytest.mark.parametrize(
    ("given", "inputs", "text_bytes", "token_ids"),
    [
        ("Grüße", 1, 7, 0),
        (["ab", "c"], 2, 3, 0),
        ([1, 2, 3], 1, 0, 3),
        ([[1, 2], [3]], 2, 0, 3),
        (["a"] * 2048, 2048, 2048, 0),
    ],
)
def test_one_or_many_inputs_as_text_or_as_tokens(given, inputs, text_bytes, token_ids):
    request = parse(body_with(input=given))
    assert (request.prompts, request.answers, request.max_tokens) == (inputs, 0, 0)
    assert (request.text_bytes, request.token_ids) == (text_bytes, token_ids)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_a_provider_is_always_asked_for_floats(encoding):
    body = body_with(encoding_format=encoding, dimensions=5, **NEVER_FORWARDED)
    assert forwarded(body, passthrough=True) == {
        "model": "org/upstream",
        "input": "Once",
        "encoding_format": "float",
        "dimensions": 5,
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": [{"text": "a"}]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "5"}, "dimensions"),
    ],
)
def test_bad_fields_are_refused_by_their_place(fields, param):
    error = refusal(parse, body_with(**fields))
    assert (error.status, error.param) == (400, param)


def test_vectors_are_put_in_the_order_of_the_inputs():
    one, two = VECTORS
    assert accepted([item(1, two), item(0, one)]) == VECTORS
    assert accepted([{"embedding": one}, {"embedding": two}]) == VECTORS


@pytest.mark.parametrize(
    "data",
    [
        None,
        "vectors",
        [],
        [1, 2],
        [item(0, [1.0])],
        [item(0, [1.0]), item(0, [1.0])],
        [item(0, [1.0]), item(2, [1.0])],
        [item(0, [1.0]), item("1", [1.0])],
        [item(0, [1.0]), item([], [1.0])],
        [item(0, [1.0]), item(1, [1.0]), item(2, [1.0])],
        [item(0, [1.0]), item(1, [])],
        [item(0, [1.0]), item(1, None)],
        [item(0, [1.0]), item(1, "AACAPw==")],
        [item(0, [1.0]), item(1, [True])],
        [item(0, [1.0]), item(1, [None])],
        [item(0, [1.0]), item(1, [1.0, 2.0])],
        [item(0, [1.0]), item(1, [float("inf")])],
        [item(0, [1.0]), item(1, [float("nan")])],
        [item(0, [1.0]), item(1, [1e39])],
        [item(0, [1.0]), item(1, [10**400])],
        [item(0, [1.0]), item(1, [[1.0]])],
    ],
)
def test_what_is_not_one_vector_for_each_input_is_garbled(data):
    with pytest.raises(Garbled):
        accepted(data)


def test_a_wish_for_dimensions_is_kept_or_refused():
    assert accepted([item(0, [1.0]), item(1, [2.0])], dimensions=1) == [[1.0], [2.0]]
    with pytest.raises(Declined) as declined:
        accepted([item(0, [1.0]), item(1, [2.0])], dimensions=2)
    assert "leave out `dimensions`" in declined.value.message


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_vectors_leave_in_the_format_that_was_asked_for(encoding):
    answer = {"id": "emb-1", "model": "m", "provider": "P", "vectors": VECTORS}
    made = embedding_list(answer, USAGE, {"encoding_format": encoding})
    assert made.keys() == {"object", "id", "model", "provider", "data", "usage"}
    assert made["usage"] == {"prompt_tokens": 7, "total_tokens": 7, "cost": 0.1}
    assert [one["index"] for one in made["data"]] == [0, 1]
    for one, vector in zip(made["data"], VECTORS, strict=True):
        if encoding == "base64":
            assert struct.unpack("<3f", base64.b64decode(one["embedding"])) == pytest.approx(vector)
        else:
            assert one["embedding"] == vector


def test_the_content_log_keeps_the_shape_of_the_answer():
    assert parse(body_with()).said({"vectors": VECTORS}) == {"embeddings": 2, "dimensions": 3}
