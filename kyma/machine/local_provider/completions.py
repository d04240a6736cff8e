"""The older endpoint POST /v1/completions, which continues a prompt."""

import asyncio

from aiohttp import web

from kyma.machine.local_provider import fields
from kyma.machine.local_provider.answers import Answer, check_length, send_stream, send_whole
from kyma.machine.local_provider.chat import read_stream_options
from kyma.machine.local_provider.engine import Engine
from kyma.machine.local_provider.errors import InvalidRequest
from kyma.machine.local_provider.inputs import input_tokens, read_inputs
from kyma.machine.local_provider.sampling import MAX_CHOICES, read_sampling
from kyma.machine.local_provider.worker import Worker

UNSUPPORTED = {
    "echo": "Echo is",
    "suffix": "A suffix is",
    "logprobs": "Log probabilities are",
    "logit_bias": "A logit bias is",
}


class TextShape:
    id_prefix = "cmpl-"
    body_object = "text_completion"
    chunk_object = "text_completion"

    def whole(self, index: int, text: str, finish_reason: str) -> dict:
        return self._choice(index, text, finish_reason)

    def opening(self, index: int) -> None:
        return None

    def piece(self, index: int, text: str) -> dict:
        return self._choice(index, text, None)

    def ending(self, index: int, finish_reason: str) -> dict:
        return self._choice(index, "", finish_reason)

    def _choice(self, index: int, text: str, finish_reason: str | None) -> dict:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


async def complete_text(
    request: web.Request, body: dict, *, engine: Engine, worker: Worker
) -> web.StreamResponse:
    fields.refuse_given(body, UNSUPPORTED)
    stream, include_usage = read_stream_options(body)
    grammar = await asyncio.to_thread(engine.grammar_for, body.get("response_format"))
    sampling = read_sampling(body, grammar=grammar)
    inputs = read_inputs(body, "prompt", limit=MAX_CHOICES, vocabulary=engine.vocabulary_size)
    if fields.integer(body, "best_of", default=sampling.n) != sampling.n:
        raise InvalidRequest("best_of must equal n.", param="best_of")
    if len(inputs) * sampling.n > MAX_CHOICES:
        raise InvalidRequest(f"prompts × n may be at most {MAX_CHOICES}.", param="n")
    prompts = await asyncio.to_thread(input_tokens, engine, inputs)
    answer = Answer(
        engine=engine,
        worker=worker,
        shape=TextShape(),
        prompts=[check_length(engine, prompt, param="prompt") for prompt in prompts],
        sampling=sampling,
        include_usage=include_usage,
    )
    return await send_stream(request, answer) if stream else await send_whole(answer)
