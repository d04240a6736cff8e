"""What the fake provider answers to requests that name no script: a well-behaved echo."""

import base64
import struct
from typing import Any

import orjson

from tests.support.provider.scripts import (
    CREATED,
    Done,
    End,
    Event,
    Head,
    Pause,
    Step,
    completion,
    error,
    json_answer,
    json_headers,
    stream,
    usage_of,
)
from tests.support.provider.wire import Request

_DIMENSIONS = 8


def default_answer(
    request: Request, *, pieces: int, interval_s: float, think_s: float
) -> bytes | list[Step]:
    """Steps, or the bytes of a whole response where speed counts."""
    path = request.path.partition("?")[0]
    if request.method == "GET" and path.endswith("/models"):
        return _whole({"object": "list", "data": [_model("fake-model")]})
    if request.method != "POST" or not path.endswith(("/completions", "/embeddings")):
        return error(404, f"The fake provider has no {request.method} {path}.", "not_found")
    if not isinstance(request.json, dict):
        return error(400, "The body is no JSON object.", "invalid_request")
    if path.endswith("/embeddings"):
        return _whole(_embeddings(request.json))
    if not path.endswith("/chat/completions"):
        return _text_completion(request)
    return _echo(request, pieces, interval_s, think_s)


def _echo(request: Request, pieces: int, interval_s: float, think_s: float) -> bytes | list[Step]:
    """The prompt, in `pieces` of one token each, cut at the request's limit of tokens."""
    model = str(request.json.get("model"))
    limit = request.json.get("max_completion_tokens") or request.json.get("max_tokens") or pieces
    said = _cut(request.prompt, pieces)[:limit]
    usage = usage_of(max(1, len(request.prompt) // 4), len(said))
    reason = "stop" if limit >= pieces else "length"
    if request.wants_stream:
        steps = stream(said, usage=usage, finish_reason=reason, model=model)
        return _paced(steps, len(said), interval_s) if interval_s else steps
    message = {"role": "assistant", "content": "".join(said)}
    payload = completion(message, usage, reason, model)
    return [Pause(think_s), *json_answer(payload)] if think_s else _whole(payload)


def _text_completion(request: Request) -> bytes | list[Step]:
    """One dot, whatever the prompt of a text completion is."""
    choice = {"index": 0, "text": ".", "logprobs": None, "finish_reason": "stop"}
    answer = {
        "id": "cmpl-fake",
        "object": "text_completion",
        "created": CREATED,
        "model": str(request.json.get("model")),
        "choices": [choice],
        "usage": usage_of(max(1, len(request.prompt) // 4), 1),
    }
    return [Head(), Event(answer), Done(), End()] if request.wants_stream else _whole(answer)


def _cut(text: str, pieces: int) -> list[str]:
    """`text` in just so many pieces; one that is too short is filled up with dots."""
    text = text.ljust(pieces, ".")
    borders = [len(text) * number // pieces for number in range(pieces + 1)]
    return [text[start:end] for start, end in zip(borders, borders[1:], strict=False)]


def _paced(steps: list[Step], pieces: int, interval_s: float) -> list[Step]:
    """A pause before each event of text; those around them come without delay."""
    first = 2  # after the head and the event that names the role
    paced = steps[:first]
    for event in steps[first : first + pieces]:
        paced += [Pause(interval_s), event]
    return paced + steps[first + pieces :]


def _embeddings(body: dict) -> dict:
    given: Any = body.get("input") or [""]
    is_one = isinstance(given, str) or isinstance(given[0], int)
    inputs = [given] if is_one else given
    vector: Any = [0.125] * int(body.get("dimensions") or _DIMENSIONS)
    if body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    tokens = sum(max(1, len(each) // 4) for each in inputs)
    return {
        "object": "list",
        "model": body.get("model"),
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index in range(len(inputs))
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _model(model: str) -> dict:
    return {"id": model, "object": "model", "created": 0, "owned_by": "fake"}


def _whole(payload: dict) -> bytes:
    body = orjson.dumps(payload)
    return Head(200, json_headers(body)).encode() + body
