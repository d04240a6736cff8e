"""Which text completions Kyma takes, and what the provider gets of them."""

import orjson
import pytest

from gateway.dialects.text import FORWARDED, parse
from gateway.providers.body import upstream_body
from tests.support.gateway.chat_bodies import GIVEN as GIVEN_TO_CHAT
from tests.support.gateway.chat_bodies import NEVER_FORWARDED
from tests.support.gateway.endpoint_answers import refusal

GIVEN = {
    **{name: value for name, value in GIVEN_TO_CHAT.items() if name in FORWARDED},
    "logprobs": 5,
    "echo": True,
    "suffix": "the end",
}
OF_KYMA = {"model", "prompt", "stream", "max_tokens"}


def body_with(**fields) -> dict:
    return {"model": "best", "prompt": "Once", **fields}


def forwarded(body: dict, **options) -> dict:
    defaults = {
        "upstream_model": "org/upstream",
        "max_tokens": 77,
        "passthrough": False,
        "unsupported": frozenset(),
        "wants_max_completion_tokens": False,
    }
    return orjson.loads(upstream_body(parse(body), **(defaults | options)))


def test_a_small_request_gets_openais_defaults():
    request = parse(body_with())
    assert (request.max_tokens, request.n, request.answers, request.stream) == (16, 1, 1, False)
    assert (request.text_bytes, request.token_ids, request.prompts) == (4, 0, 1)


def test_every_forwarded_field_arrives_unchanged():
    assert GIVEN.keys() == FORWARDED.keys()
    sent = forwarded(body_with(**GIVEN))
    assert {name: sent[name] for name in GIVEN} == GIVEN
    assert sent.keys() == GIVEN.keys() | OF_KYMA


@pytest.mark.parametrize("name", sorted(NEVER_FORWARDED))
def test_a_field_that_stops_here_is_never_forwarded(name):
    sent = forwarded(body_with(**{name: NEVER_FORWARDED[name]}), passthrough=True)
    assert sent.keys() == OF_KYMA


def test_what_kyma_sets_is_not_the_callers():
    body = body_with(stream=True, stream_options={"include_usage": False}, max_tokens=5, n=2)
    assert forwarded(body | {"best_of": 2}, wants_max_completion_tokens=True) == {
        "model": "org/upstream",
        "prompt": "Once",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 77,
        "n": 2,
    }


def test_a_field_that_kyma_does_not_know_needs_a_route_that_passes_it():
    body = body_with(grammar="x")
    assert "grammar" not in forwarded(body)
    assert forwarded(body, passthrough=True)["grammar"] == "x"


def test_no_other_limit_goes_beside_kymas():
    body = body_with(max_completion_tokens=500)
    assert forwarded(body, passthrough=True).keys() == OF_KYMA


@pytest.mark.parametrize(
    ("prompt", "prompts", "text_bytes", "token_ids"),
    [
        ("Grüße", 1, 7, 0),
        (["ab", "c"], 2, 3, 0),
        ([1, 2, 3], 1, 0, 3),
        ([[1, 2], [3]], 2, 0, 3),
    ],
)
def test_one_or_many_prompts_as_text_or_as_tokens(prompt, prompts, text_bytes, token_ids):
    request = parse(body_with(prompt=prompt, n=3))
    assert (request.prompts, request.answers) == (prompts, 3 * prompts)
    assert (request.text_bytes, request.token_ids) == (text_bytes, token_ids)
    assert forwarded(body_with(prompt=prompt))["prompt"] == prompt


def test_what_stands_in_every_prompt_counts_for_every_prompt():
    assert parse(body_with(prompt=["a", "b"], suffix="xyz")).text_bytes == 2 + 2 * 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt[1]"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": [1, -1]}, "prompt[1]"),
        ({"prompt": [True]}, "prompt[0]"),
        ({"prompt": [1.5]}, "prompt[0]"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [[1], "a"]}, "prompt[1]"),
        ({"prompt": [[1], [2, "a"]]}, "prompt[1][1]"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "16"}, "max_tokens"),
        ({"n": 9}, "n"),
        ({"best_of": 0}, "best_of"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"echo": 1}, "echo"),
        ({"suffix": 1}, "suffix"),
        ({"temperature": 3}, "temperature"),
        ({"stop": [""]}, "stop[0]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"provider": {"zdr": 1}}, "provider.zdr"),
        ({"user": 5}, "user"),
    ],
)
def test_bad_fields_are_refused_by_their_place(fields, param):
    error = refusal(parse, body_with(**fields))
    assert (error.status, error.param) == (400, param)
    assert error.message.startswith(f"`{param}` ")


def test_completions_that_nobody_gets_are_refused():
    assert parse(body_with(n=2, best_of=2)).n == 2
    error = refusal(parse, body_with(best_of=2))
    assert (error.status, error.param) == (422, "best_of")
