"""The HTTP answers: a generation as one JSON body, or as server-sent events while it runs."""

import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from kyma.machine.local_provider.engine import MODEL_ID, Engine
from kyma.machine.local_provider.errors import ApiError, ContextLengthExceeded, error_body
from kyma.machine.local_provider.generation import Ending, Event, Opening, Piece, generate
from kyma.machine.local_provider.sampling import Sampling
from kyma.machine.local_provider.worker import Worker

logger = logging.getLogger(__name__)

SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class Shape(Protocol):
    """The form of an endpoint's choices."""

    id_prefix: str
    body_object: str
    chunk_object: str

    def whole(self, index: int, text: str, finish_reason: str) -> dict: ...

    def opening(self, index: int) -> dict | None: ...

    def piece(self, index: int, text: str) -> dict: ...

    def ending(self, index: int, finish_reason: str) -> dict: ...


@dataclass(kw_only=True)
class Answer:
    """One request in progress: its input, and the count of tokens so far."""

    engine: Engine
    worker: Worker
    shape: Shape
    prompts: list[list[int]]
    sampling: Sampling
    include_usage: bool = False
    completion_tokens: int = 0
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = ""

    def __post_init__(self) -> None:
        self.id = f"{self.shape.id_prefix}{secrets.token_hex(12)}"

    def events(self) -> AsyncGenerator[Event, None]:
        return self.worker.run(
            lambda cancelled: generate(self.engine, self.prompts, self.sampling, cancelled)
        )

    def body(self, *, object: str, choices: list[dict]) -> dict:
        return {
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": MODEL_ID,
            "choices": choices,
        }

    def usage(self) -> dict:
        """Return the usage. Each prompt counts once, even if it got several answers."""
        prompt_tokens = sum(len(prompt) for prompt in self.prompts)
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": prompt_tokens + self.completion_tokens,
        }


def check_length(engine: Engine, tokens: list[int], *, param: str) -> list[int]:
    if len(tokens) >= engine.context_length:
        raise ContextLengthExceeded(tokens=len(tokens), limit=engine.context_length, param=param)
    return tokens


async def send_whole(answer: Answer) -> web.Response:
    texts: dict[int, str] = {}
    choices = []
    async with aclosing(answer.events()) as events:
        async for event in events:
            if isinstance(event, Opening):
                texts[event.index] = ""
            elif isinstance(event, Piece):
                texts[event.index] += event.text
            else:
                answer.completion_tokens += event.completion_tokens
                text = texts[event.index]
                choices.append(answer.shape.whole(event.index, text, event.finish_reason))
    body = answer.body(object=answer.shape.body_object, choices=choices)
    return web.json_response(body | {"usage": answer.usage()})


async def send_stream(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Stream the answer. It ends with ``[DONE]`` if and only if it is complete."""
    response = web.StreamResponse(headers=SSE_HEADERS)
    try:
        async with aclosing(_chunks(answer)) as chunks:
            async for chunk in chunks:
                if not response.prepared:
                    # Send no head before the model is free: until then a client that has waited
                    # too long can still turn to another provider.
                    await response.prepare(request)
                await response.write(_event(chunk))
        await response.write(b"data: [DONE]\n\n")
    except ConnectionError:
        raise
    except Exception as error:
        if not response.prepared:
            raise
        await response.write(_event(_failure(error)))
    await response.write_eof()
    return response


async def _chunks(answer: Answer) -> AsyncGenerator[dict, None]:
    def chunk(choices: list[dict], usage: dict | None = None) -> dict:
        body = answer.body(object=answer.shape.chunk_object, choices=choices)
        return body | {"usage": usage} if answer.include_usage else body

    async with aclosing(answer.events()) as events:
        async for event in events:
            choice = _choice(answer.shape, event)
            if isinstance(event, Ending):
                answer.completion_tokens += event.completion_tokens
            if choice is not None:
                yield chunk([choice])
    if answer.include_usage:
        yield chunk([], answer.usage())


def _choice(shape: Shape, event: Event) -> dict | None:
    if isinstance(event, Opening):
        return shape.opening(event.index)
    if isinstance(event, Piece):
        return shape.piece(event.index, event.text)
    return shape.ending(event.index, event.finish_reason)


def _failure(error: Exception) -> dict:
    if isinstance(error, ApiError):
        return error.body()
    logger.error("a stream broke", exc_info=error)
    return error_body("The model failed.", type="server_error", param=None, code=None)


def _event(data: dict) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()
