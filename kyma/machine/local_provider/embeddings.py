"""The endpoint POST /v1/embeddings."""

import asyncio
import base64
import struct
from collections.abc import Callable, Generator
from contextlib import aclosing

from aiohttp import web

from kyma.machine.local_provider import fields
from kyma.machine.local_provider.answers import check_length
from kyma.machine.local_provider.engine import MODEL_ID, Engine
from kyma.machine.local_provider.errors import InvalidRequest
from kyma.machine.local_provider.inputs import input_tokens, read_inputs
from kyma.machine.local_provider.worker import Worker

MAX_INPUTS = 256


async def embed(
    request: web.Request, body: dict, *, engine: Engine, worker: Worker
) -> web.StreamResponse:
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise InvalidRequest("encoding_format must be float or base64.", param="encoding_format")
    _check_dimensions(body, engine)
    inputs = read_inputs(body, "input", limit=MAX_INPUTS, vocabulary=engine.vocabulary_size)
    token_lists = await asyncio.to_thread(input_tokens, engine, inputs)
    for tokens in token_lists:
        check_length(engine, tokens, param="input")
    vectors = await _vectors(engine, worker, token_lists)
    count = sum(len(tokens) for tokens in token_lists)
    return web.json_response(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding)}
                for index, vector in enumerate(vectors)
            ],
            "model": MODEL_ID,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
    )


async def _vectors(
    engine: Engine, worker: Worker, token_lists: list[list[int]]
) -> list[list[float]]:
    def produce(cancelled: Callable[[], bool]) -> Generator[list[float], None, None]:
        for tokens in token_lists:
            yield engine.embed(tokens, cancelled=cancelled)

    async with aclosing(worker.run(produce)) as vectors:
        return [vector async for vector in vectors]


def _check_dimensions(body: dict, engine: Engine) -> None:
    own = engine.embedding_dimensions
    if fields.integer(body, "dimensions", default=own) != own:
        raise InvalidRequest(f"This model's embeddings have {own} dimensions.", param="dimensions")


def _encoded(vector: list[float], encoding: str) -> list[float] | str:
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
