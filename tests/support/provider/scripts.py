"""What the fake provider sends: steps, exact to the byte, and builders of ordinary answers.

A script is a list of steps, or `either(...)` of two lists. The usual one is

    [Head(), Event(chunk({"content": "Hello"})), Done(), End()]

A script that runs out without `End()` ends like `Close()`: the client is never left hanging.
"""

import http
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import orjson

SSE_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache"}
_COUNTED: Mapping = MappingProxyType({})  # usage that the builder counts itself
_ABSENT: Mapping = MappingProxyType({})  # no usage field at all, not even null
CREATED = 1_750_000_000
_answer_numbers = itertools.count(1)

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


# Steps


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers as they are given; an event stream unless told otherwise.

    The body is chunked if there is no content-length. A 1xx head has no body: another follows.
    """

    status: int = 200
    headers: Headers | None = None
    reason: str | None = None

    def fields(self) -> list[tuple[str, str]]:
        given = SSE_HEADERS if self.headers is None else self.headers
        fields = list(given.items() if isinstance(given, Mapping) else given)
        if self.has_body and not {"content-length", "transfer-encoding"} & _names(fields):
            fields.append(("transfer-encoding", "chunked"))
        return fields

    @property
    def has_body(self) -> bool:
        return self.status >= 200 and self.status not in (204, 304)

    def encode(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {self.reason or _reason(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.fields()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True, slots=True)
class Bytes:
    """One write; one HTTP chunk where the body is chunked."""

    data: bytes


@dataclass(frozen=True, slots=True)
class RawBytes:
    """One write without any framing: for broken heads, chunk sizes and the like."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event, in one write."""

    payload: Mapping

    @property
    def data(self) -> bytes:
        return sse(self.payload)


@dataclass(frozen=True, slots=True)
class Done:
    """`data: [DONE]`, which isn't the end of the body: `End()` is."""

    data = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Split:
    """`data` in pieces, each its own write (and chunk, unless `raw`), with a turn of the loop
    between them.

    The pieces have the `sizes` given, the rest being one more, or are all `every` bytes long.
    A client that is slower than the loop may still read two at once: `gap_s` (a few ms) or a
    `WaitFor` between two steps keep them apart.
    """

    data: bytes
    sizes: Sequence[int] = ()
    every: int | None = None
    gap_s: float = 0.0
    raw: bool = False

    def pieces(self) -> Iterator[bytes]:
        sizes = itertools.repeat(self.every) if self.every else iter(self.sizes)
        at = 0
        while at < len(self.data):
            size = next(sizes, len(self.data))
            yield self.data[at : at + size]
            at += size


@dataclass(frozen=True, slots=True)
class End:
    """The clean end of the body: the last chunk, or nothing after a whole content-length."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST)."""


@dataclass(frozen=True, slots=True)
class Close:
    """The connection is closed (FIN), whether or not the body has ended."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing, until `fake.release(id)` or the time is over; then the script goes on."""

    seconds_max: float = 30.0


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Nothing, until `fake.go(id, name)`. After 30 s the connection is reset and the call
    says so in `failure`."""

    name: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Pacing for load tests."""

    seconds: float


Step = (
    Head | Bytes | RawBytes | Event | Done | Split | End | Reset | Close | Silence | WaitFor | Pause
)


@dataclass(frozen=True, slots=True)
class Either:
    """Two scripts, of which the `stream` of the request's body chooses one."""

    stream: Sequence[Step]
    plain: Sequence[Step]


Script = Sequence[Step] | Either


def either(stream_steps: Sequence[Step], plain_steps: Sequence[Step]) -> Either:
    return Either(stream_steps, plain_steps)


# Ordinary answers


def answer(
    text: str | None,
    *,
    prompt_tokens: int | None = 10,
    completion_tokens: int = 5,
    finish_reason: str = "stop",
    model: str = "fake-model",
    extra: Mapping | None = None,
) -> list[Step]:
    """A whole chat completion, without usage if `prompt_tokens` is None.

    `extra` overrides fields at its top: `{"usage": {...}}`.
    """
    message = {"role": "assistant", "content": text}
    usage = _ABSENT if prompt_tokens is None else usage_of(prompt_tokens, completion_tokens)
    return json_answer(completion(message, usage, finish_reason, model) | dict(extra or {}))


def stream(
    text: str | Iterable[str],
    *,
    usage: Mapping | None = _COUNTED,
    usage_with_choices: bool = False,
    finish_reason: str | None = "stop",
    done: bool = True,
    role_chunk: bool = True,
    model: str = "fake-model",
) -> list[Step]:
    """A chat completion as events, one per word of `text` or per piece.

    `usage` comes in an event of its own after the last, or in that one if `usage_with_choices`;
    None leaves it out. `finish_reason=None` leaves out the chunk that would carry it.
    """
    pieces = re.findall(r"\S+\s*|\s+", text) if isinstance(text, str) else list(text)
    deltas = [{"role": "assistant", "content": ""}] if role_chunk else []
    deltas += [{"content": piece} for piece in pieces]
    if usage is _COUNTED:
        usage = usage_of(10, len(pieces))
    return _stream(deltas, usage, usage_with_choices, finish_reason, done, model)


def tool_call_answer(
    calls: Iterable[tuple[str, Mapping | str]],
    *,
    prompt_tokens: int = 10,
    completion_tokens: int = 5,
    finish_reason: str = "tool_calls",
    model: str = "fake-model",
    text: str | None = None,
) -> list[Step]:
    """A chat completion that calls tools: `[("lookup", {"city": "Oslo"})]`.

    Arguments given as a string go out as they are, valid JSON or not.
    """
    message: dict = {"role": "assistant", "content": text, "tool_calls": _tool_calls(calls)}
    usage = usage_of(prompt_tokens, completion_tokens)
    return json_answer(completion(message, usage, finish_reason, model))


def tool_call_stream(
    calls: Iterable[tuple[str, Mapping | str]],
    *,
    usage: Mapping | None = _COUNTED,
    usage_with_choices: bool = False,
    finish_reason: str | None = "tool_calls",
    done: bool = True,
    fragment: int = 8,
    model: str = "fake-model",
) -> list[Step]:
    """The same as events: the name first, then the arguments, `fragment` characters at a time."""
    deltas: list[dict] = [{"role": "assistant", "content": None}]
    for index, call in enumerate(_tool_calls(calls)):
        function = call["function"]
        opening = call | {"index": index, "function": function | {"arguments": ""}}
        deltas.append({"tool_calls": [opening]})
        for at in range(0, len(function["arguments"]), fragment):
            part = {"arguments": function["arguments"][at : at + fragment]}
            deltas.append({"tool_calls": [{"index": index, "function": part}]})
    if usage is _COUNTED:
        usage = usage_of(10, 5)
    return _stream(deltas, usage, usage_with_choices, finish_reason, done, model)


def error(
    status: int,
    message: str = "The provider failed.",
    code: str | int | None = None,
    headers: Mapping[str, str] | None = None,
) -> list[Step]:
    """An error in OpenAI's shape."""
    detail = {"message": message, "type": "error", "param": None, "code": code}
    return json_answer({"error": detail}, status=status, headers=headers)


# Parts of answers, for scripts written by hand


def sse(payload: Mapping) -> bytes:
    """`payload` as the bytes of one event."""
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def chunk(
    delta: Mapping,
    *,
    finish_reason: str | None = None,
    usage: Mapping | None = _ABSENT,
    model: str = "fake-model",
    answer_id: str = "chatcmpl-fake",
) -> dict:
    """A `chat.completion.chunk` with one choice; `usage=None` is a field that says null."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _chunk(answer_id, model, [choice], usage)


def usage_chunk(
    usage: Mapping, *, model: str = "fake-model", answer_id: str = "chatcmpl-fake"
) -> dict:
    """The chunk without choices that carries `usage` before `[DONE]`."""
    return _chunk(answer_id, model, [], usage)


def completion(message: Mapping, usage: Mapping, finish_reason: str, model: str) -> dict:
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    fields = {
        "id": new_answer_id(),
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [choice],
    }
    return fields if usage is _ABSENT else fields | {"usage": usage}


def usage_of(prompt_tokens: int, completion_tokens: int, *, cached_tokens: int = 0) -> dict:
    usage: dict = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
    return usage


def json_answer(
    payload: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> list[Step]:
    """Any JSON with its content-length."""
    body = orjson.dumps(payload)
    return [Head(status, json_headers(body) | dict(headers or {})), Bytes(body), End()]


def json_headers(body: bytes) -> dict[str, str]:
    return {"content-type": "application/json", "content-length": str(len(body))}


def new_answer_id() -> str:
    return f"chatcmpl-fake{next(_answer_numbers)}"


def _stream(deltas, usage, usage_with_choices, finish_reason, done, model) -> list[Step]:
    """The events of `deltas`: those before the usage say `usage: null`, as OpenAI's do."""
    same = {"model": model, "answer_id": new_answer_id()}
    early = same if usage is None else same | {"usage": None}
    steps: list[Step] = [Head(), *(Event(chunk(delta, **early)) for delta in deltas)]
    if usage_with_choices:
        steps.append(Event(chunk({}, finish_reason=finish_reason, **(same | {"usage": usage}))))
    else:
        if finish_reason is not None:
            steps.append(Event(chunk({}, finish_reason=finish_reason, **early)))
        if usage is not None:
            steps.append(Event(usage_chunk(usage, **same)))
    return [*steps, Done(), End()] if done else [*steps, End()]


def _chunk(answer_id: str, model: str, choices: list, usage: Mapping | None) -> dict:
    fields = {
        "id": answer_id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "choices": choices,
    }
    return fields if usage is _ABSENT else fields | {"usage": usage}


def _tool_calls(calls: Iterable[tuple[str, Mapping | str]]) -> list[dict]:
    return [
        {
            "id": f"call_fake{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else orjson.dumps(given).decode(),
            },
        }
        for index, (name, given) in enumerate(calls)
    ]


def _names(fields: list[tuple[str, str]]) -> set[str]:
    return {name.lower() for name, _ in fields}


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
