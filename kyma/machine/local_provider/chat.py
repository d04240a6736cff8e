"""The endpoint POST /v1/chat/completions."""

import asyncio

from aiohttp import web

from kyma.machine.local_provider import fields
from kyma.machine.local_provider.answers import Answer, check_length, send_stream, send_whole
from kyma.machine.local_provider.engine import Engine
from kyma.machine.local_provider.errors import InvalidRequest
from kyma.machine.local_provider.prompt import chat_tokens, read_messages
from kyma.machine.local_provider.sampling import read_sampling
from kyma.machine.local_provider.worker import Worker

UNSUPPORTED = {
    "tools": "Tools are",
    "functions": "Tools are",
    "function_call": "Tools are",
    "logprobs": "Log probabilities are",
    "top_logprobs": "Log probabilities are",
    "logit_bias": "A logit bias is",
    "audio": "Audio is",
    "web_search_options": "Web search is",
}


class ChatShape:
    id_prefix = "chatcmpl-"
    body_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def whole(self, index: int, text: str, finish_reason: str) -> dict:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": None} | {
            "finish_reason": finish_reason
        }

    def opening(self, index: int) -> dict:
        return self._delta(index, {"role": "assistant", "content": ""}, None)

    def piece(self, index: int, text: str) -> dict:
        return self._delta(index, {"content": text}, None)

    def ending(self, index: int, finish_reason: str) -> dict:
        return self._delta(index, {}, finish_reason)

    def _delta(self, index: int, delta: dict, finish_reason: str | None) -> dict:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


async def complete_chat(
    request: web.Request, body: dict, *, engine: Engine, worker: Worker
) -> web.StreamResponse:
    _refuse_unsupported(body)
    stream, include_usage = read_stream_options(body)
    grammar = await asyncio.to_thread(engine.grammar_for, body.get("response_format"))
    sampling = read_sampling(body, grammar=grammar)
    turns = read_messages(body)
    tokens = await asyncio.to_thread(chat_tokens, engine, turns)
    answer = Answer(
        engine=engine,
        worker=worker,
        shape=ChatShape(),
        prompts=[check_length(engine, tokens, param="messages")],
        sampling=sampling,
        include_usage=include_usage,
    )
    return await send_stream(request, answer) if stream else await send_whole(answer)


def read_stream_options(body: dict) -> tuple[bool, bool]:
    """Return (stream, include_usage)."""
    stream = fields.flag(body, "stream")
    options = body.get("stream_options")
    if options is None:
        return stream, False
    if not isinstance(options, dict) or not stream:
        raise InvalidRequest(
            "stream_options must be an object and is allowed only with stream.",
            param="stream_options",
        )
    return stream, fields.flag(options, "include_usage")


def _refuse_unsupported(body: dict) -> None:
    fields.refuse_given(body, UNSUPPORTED)
    if body.get("tool_choice") not in (None, "none", "auto"):
        fields.refuse_given(body, {"tool_choice": "Tools are"})
    if body.get("modalities") not in (None, ["text"]):
        fields.refuse_given(body, {"modalities": "Modalities other than text are"})
