"""A chat request, checked: what the caller may say, and what each part of it is for.

`parse` expects what json_body.parse returns, or a body that Kyma wrote itself.
"""

from dataclasses import dataclass
from typing import Any

from gateway import chat_messages
from gateway.chat_fields import CHECKS, FORWARDED, READ, ROUTING, check_together
from gateway.chat_messages import size_of
from gateway.field_checks import Mismatch, missing

# Templates write these into the prompt, or a provider bills them as if they did.
_PROMPT_FIELDS = ("tools", "functions", "prediction")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """`models` are those to try, in order.

    `fields`, `unknown` and `routing` hold the body's fields as they came, `null` left out.
    `fields` go to any provider, `unknown` only over a route with passthrough, `routing` nowhere.
    `text_bytes` is an upper bound for prompt tokens, images and template text aside.
    """

    models: tuple[str, ...]
    messages: list[dict]
    stream: bool
    include_usage: bool
    max_tokens: int | None
    answers: int
    fields: dict[str, Any]
    unknown: dict[str, Any]
    text_bytes: int
    message_count: int
    images: int
    user: str | None
    session_id: str | None
    routing: dict[str, Any]


def parse(body: dict) -> ChatRequest:
    fields: dict[str, Any] = {}
    routing: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    read: dict[str, Any] = {}
    for name, value in body.items():
        if value is None:
            continue
        if name in FORWARDED:
            fields[name] = _checked(name, value)
        elif name in READ:
            read[name] = _checked(name, value)
        elif name in ROUTING:
            routing[name] = _checked(name, value)
        else:
            unknown[name] = value
    _check_required(read, routing)
    check_together(fields)
    chat_messages.check_tool_replies(read["messages"])
    return _request(read, fields=fields, unknown=unknown, routing=routing)


def _checked(name: str, value: Any) -> Any:
    try:
        CHECKS[name](value)
    except Mismatch as mismatch:
        raise mismatch.under(name).as_error() from None
    return value


def _check_required(read: dict, routing: dict) -> None:
    for name in ("model", "messages"):
        if name not in read and not (name == "model" and routing.get("models")):
            raise missing(CHECKS[name]).under(name).as_error()


def _request(read: dict, *, fields: dict, unknown: dict, routing: dict) -> ChatRequest:
    stream = read.get("stream", False)
    message_bytes, images = chat_messages.measure(read["messages"])
    return ChatRequest(
        models=_models(read.get("model"), routing.get("models", [])),
        messages=read["messages"],
        stream=stream,
        include_usage=_wants_usage(read, stream),
        max_tokens=read.get("max_completion_tokens") or read.get("max_tokens"),
        answers=read.get("n", 1),
        fields=fields,
        unknown=unknown,
        text_bytes=message_bytes + _field_bytes(fields, unknown),
        message_count=len(read["messages"]),
        images=images,
        user=read.get("user") or read.get("safety_identifier"),
        session_id=read.get("session_id") or read.get("prompt_cache_key"),
        routing=routing,
    )


def _models(first: str | None, fallbacks: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*([first] if first else []), *fallbacks]))


def _wants_usage(read: dict, stream: bool) -> bool:
    options = read.get("stream_options", {}) if stream else {}
    return bool(options.get("include_usage") or read.get("usage", {}).get("include"))


def _field_bytes(fields: dict, unknown: dict) -> int:
    in_prompt = [fields[name] for name in _PROMPT_FIELDS if name in fields]
    in_prompt.append(fields.get("response_format", {}).get("json_schema"))
    in_prompt.extend(unknown.values())
    return sum(size_of(value) for value in in_prompt)
