"""What a scripted provider answers at its /completions and its /embeddings."""

import uuid
from collections.abc import Mapping, Sequence

import pytest

from gateway.errors import GatewayError
from gateway.models import Provider
from tests.support.factories import make_price, make_provider, make_route
from tests.support.provider.scripts import (
    CREATED,
    Done,
    End,
    Event,
    Head,
    Step,
    json_answer,
    usage_of,
)

USAGE = usage_of(10, 4)
PROMPT_USAGE = {"prompt_tokens": 7, "total_tokens": 7}
VECTORS = [[0.25, -1.5, 3.0], [1e-3, 2, -0.125]]


def text_choice(text: str, index: int = 0, finish_reason: str | None = None) -> dict:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def text_object(choices: Sequence[dict], **fields) -> dict:
    return {
        "id": "cmpl-fake",
        "object": "text_completion",
        "created": CREATED,
        "model": "fake-model",
        "choices": list(choices),
        **fields,
    }


def text_answer(*texts: str, usage: Mapping | None = USAGE) -> list[Step]:
    choices = [text_choice(text, index, "stop") for index, text in enumerate(texts)]
    return json_answer(text_object(choices, **({} if usage is None else {"usage": usage})))


def text_stream(*pieces: str, usage: Mapping | None = USAGE) -> list[Step]:
    chunks = [text_object([text_choice(piece)]) for piece in pieces]
    chunks.append(text_object([text_choice("", finish_reason="stop")]))
    if usage is not None:
        chunks.append(text_object([], usage=usage))
    return [Head(), *map(Event, chunks), Done(), End()]


def vectors_answer(
    vectors: Sequence = VECTORS, *, usage: Mapping | None = PROMPT_USAGE, **fields
) -> list[Step]:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    payload = {"object": "list", "model": "fake-model", "data": data, **fields}
    return json_answer(payload if usage is None else {**payload, "usage": usage})


def dearer_route(slug: str, base_url: str) -> Provider:
    """The provider of a new route to the model `slug`, tried last: at twice a test's price."""
    name = f"dearer-{uuid.uuid4().hex[:8]}"
    provider = make_provider(name, base_url=base_url, self_hosted=True)
    price = make_price(input_nano=200_000_000, output_nano=800_000_000)
    make_route(slug, provider=provider, price=price)
    return provider


def refusal(parse, body: dict) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        parse(body)
    return refused.value
