"""Logged content as text for people to read: the messages and answers of every API.

Content is stored as the caller sent it, even if providers refused it. So nothing here may fail, and
anything that doesn't look like a message is shown as JSON.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.dialects.chat.answer import logged_answers, name_and_arguments, tool_calls

MAX_TEXT = 100_000  # characters of one message, and of the JSON: a page stays readable
_DEEPEST = 20
_NOT_TEXT = {
    "image_url": "[image]",
    "image": "[image]",
    "input_image": "[image]",
    "input_audio": "[audio]",
    "file": "[file]",
    "input_file": "[file]",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """One message: the role of its writer, its text, and the thoughts before it."""

    role: str
    text: str
    reasoning: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Transcript:
    messages: list[Said]
    answers: list[Said]
    ip: str
    user_agent: str
    request_json: str


def transcript_of(content: bytes) -> Transcript:
    """Return the transcript of `content`: request, answer, IP address and user agent as JSON."""
    said = orjson.loads(content)
    request, answer = said.get("request"), said.get("answer")
    return Transcript(
        messages=list(_messages(request)) if isinstance(request, dict) else [],
        answers=list(_answers(answer)),
        ip=said.get("ip") or "",
        user_agent=said.get("user_agent") or "",
        request_json=request if isinstance(request, str) else _json(request),
    )


def _messages(request: dict) -> Iterator[Said]:
    """Yield the messages in the order in which the model reads them."""
    for field in ("system", "instructions"):
        if request.get(field):
            yield _said("system", request[field])
    for field in ("messages", "input"):
        items = request.get(field)
        if isinstance(items, list) and any(isinstance(item, dict) for item in items):
            yield from (_message(item) for item in items)
        elif items:
            yield _said("input", items)
    if request.get("prompt"):
        yield _said("prompt", request["prompt"])


def _message(item: Any) -> Said:
    if not isinstance(item, dict):
        return _said("input", item)
    role = item.get("role") or item.get("type") or "message"
    parts = [_text(item.get("content", item))]
    parts += [_called(call) for call in tool_calls(item)]
    return _said(role if isinstance(role, str) else "message", [one for one in parts if one])


def _called(call: dict) -> str:
    custom = call.get("custom")
    if isinstance(custom, dict):
        return _call(custom.get("name"), custom.get("input"))
    return _call(*name_and_arguments(call))


def _answers(answer: Any) -> Iterator[Said]:
    """Yield the choices of a whole answer, or the messages that were gathered from a stream."""
    if isinstance(answer, dict):  # Embeddings: the log keeps only their number and size.
        yield _said("answer", ", ".join(f"{value} {name}" for name, value in answer.items()))
    for one in logged_answers(answer if isinstance(answer, list) else []):
        parts = [part for part in (one.text, *(_call(*call) for call in one.calls)) if part]
        yield Said("assistant", _short("\n\n".join(parts)), _short(one.thought))


def _said(role: str, content: Any) -> Said:
    return Said(role[:32], _short(_text(content)))


def _text(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value
    if depth > _DEEPEST:
        return _json(value)
    if isinstance(value, list):
        if value and all(isinstance(one, int) for one in value):
            return f"[{len(value)} tokens]"
        return "\n\n".join(filter(None, (_text(one, depth + 1) for one in value)))
    return _part(value, depth) if isinstance(value, dict) else ""


def _part(part: dict, depth: int) -> str:
    kind = part.get("type")
    if kind == "document":
        return _text([part.get("title"), part.get("context"), _held(part)], depth + 1)
    if kind == "search_result":
        return _text([part.get(name) for name in ("title", "source", "content")], depth + 1)
    if isinstance(kind, str) and kind in _NOT_TEXT:
        return _NOT_TEXT[kind]
    if kind in ("tool_use", "function_call"):
        return _call(part.get("name"), part.get("input") or part.get("arguments"))
    for field in ("text", "thinking", "content", "output", "summary"):
        if part.get(field):
            return _text(part[field], depth + 1)
    return _json(part)


def _held(document: dict) -> Any:
    source = document.get("source")
    if not isinstance(source, dict):
        return "[document]"
    return source.get("data" if source.get("type") == "text" else "content") or "[document]"


def _call(name: Any, arguments: Any) -> str:
    written = arguments if isinstance(arguments, str) else _json(arguments or {})
    return f"{name or 'tool'}({written})"


def _json(value: Any) -> str:
    try:
        return _short(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    except orjson.JSONEncodeError:  # orjson reads deeper nesting than it writes.
        return "[nested too deeply to be shown]"


def _short(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}\n[{len(text) - MAX_TEXT:,} more characters]"
