"""Conversations as JSON, with every branch.

    {"format": "kyma-chat", "version": 1, "conversations": [
        {"title": …, "model": …, "parameters": {…}, "messages": [
            {"role": "system", "content": …},
            {"id": "m1", "parent": null, "role": "user", "content": …},
            {"id": "m2", "parent": "m1", "role": "assistant", "content": …, "reasoning": …}],
         "leaf": "m2"}]}

`messages` are OpenAI's, with `id` and `parent` added to form a tree. The reader also accepts one
conversation, the body of a chat completion, or a list of messages. Without ids, each message
follows the one before.
"""

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from chat.errors import ImportRefused
from chat.files import counting
from chat.files.portable import Outgoing, Portable, PortableMessage
from chat.prompt import Said

FORMAT = "kyma-chat"
VERSION = 1


# --- Out


def write(conversations: Iterable[Outgoing]) -> Iterator[bytes]:
    """Yield the file part by part."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": timezone.now(),
        "conversations": [],
    }
    return _filled(head, (_conversation(one, said) for one, said in conversations))


def _conversation(one: Portable, said: Iterable[PortableMessage]) -> Iterator[bytes]:
    prompt = [{"role": "system", "content": one.system_prompt}] if one.system_prompt else []
    entries = itertools.chain(prompt, itertools.starmap(_message, enumerate(said)))
    head = {
        "title": one.title,
        "model": one.model,
        "parameters": one.parameters,
        "pinned": one.is_pinned,
        "archived": one.is_archived,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "messages": [],
    }
    return _filled(head, ([_dumped(entry)] for entry in entries), lambda: {"leaf": _name(one.leaf)})


def _filled(
    head: dict, entries: Iterable[Iterable[bytes]], tail: Callable[[], dict] = dict
) -> Iterator[bytes]:
    """Yield `head` with its last list filled by `entries`, each in parts; then the `tail`."""
    yield _dumped(head).removesuffix(b"]\n}")
    before, end = b"\n    ", b"]"
    for entry in entries:
        yield before
        yield from (part.replace(b"\n", b"\n    ") for part in entry)
        before, end = b",\n    ", b"\n  ]"
    last = tail()
    yield end + (b"," + _dumped(last).removeprefix(b"{") if last else b"\n}")


def _dumped(value: dict) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def _message(index: int, said: PortableMessage) -> dict:
    return {
        "id": _name(index),
        "parent": _name(said.parent),
        **Said(said.role, said.text, said.images).as_openai(),
        **({"reasoning": said.reasoning} if said.reasoning else {}),
        **({"model": said.model} if said.model else {}),
        "created_at": said.created_at,
        **said.details,
    }


def _name(index: int | None) -> str | None:
    return None if index is None else f"m{index + 1}"


# --- In


def read(content: bytes) -> list[Portable]:
    """Return the conversations of a file. Raises ImportRefused."""
    counting.check(content)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ImportRefused(
            f"This is no JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    if isinstance(document, list):
        document = {"messages": document}
    if not isinstance(document, dict):
        raise ImportRefused("This JSON holds no conversation.")
    if document.get("version", VERSION) != VERSION:
        raise ImportRefused(f"Kyma reads only version {VERSION} of this format.")
    found = document.get("conversations", [document])
    return [
        _read_conversation(_dict(one, f"conversations[{index}]"), f"conversations[{index}].")
        for index, one in enumerate(_list(found, "conversations"))
    ]


def _read_conversation(source: dict, where: str) -> Portable:
    one = Portable(
        title=_text(source.get("title"), f"{where}title"),
        model=_text(source.get("model"), f"{where}model"),
        parameters=_dict(source.get("parameters") or {}, f"{where}parameters"),
        is_pinned=source.get("pinned") is True,
        is_archived=source.get("archived") is True,
        created_at=_time(source.get("created_at")),
        updated_at=_time(source.get("updated_at")),
    )
    names: dict[str, int] = {}
    for number, entry in enumerate(_list(source.get("messages"), f"{where}messages")):
        place = f"{where}messages[{number}]"
        _read_message(one, names, _dict(entry, place), place)
    one.leaf = _index(names, source.get("leaf"), f"{where}leaf")
    if one.leaf is None and one.messages:
        one.leaf = len(one.messages) - 1
    return one


def _read_message(one: Portable, names: dict[str, int], entry: dict, place: str) -> None:
    role = entry.get("role")
    text, images = _content(entry.get("content"), place)
    if role in ("system", "developer"):
        one.system_prompt = f"{one.system_prompt}\n\n{text}".strip()
        return
    if role not in ("user", "assistant"):
        raise ImportRefused(f"{place}.role is neither system nor user nor assistant.")
    index = len(one.messages)
    before = index - 1 if index else None
    has_parent = "parent" in entry
    parent = _index(names, entry["parent"], f"{place}.parent") if has_parent else before
    if entry.get("id") is not None:
        name = _text(entry["id"], f"{place}.id")
        if name in names:
            raise ImportRefused(f"{place}.id is the id of an earlier message too.")
        names[name] = index
    one.messages.append(
        PortableMessage(
            role,
            text,
            parent,
            reasoning=_text(entry.get("reasoning"), f"{place}.reasoning"),
            images=images,
            model=_text(entry.get("model"), f"{place}.model"),
            created_at=_time(entry.get("created_at")),
        )
    )


def _index(names: dict[str, int], name: Any, place: str) -> int | None:
    """Return the index of the earlier message with this name."""
    if name is None:
        return None
    if not isinstance(name, str) or name not in names:
        raise ImportRefused(f"{place} is not the id of an earlier message.")
    return names[name]


def _content(content: Any, place: str) -> tuple[str, list[str]]:
    """Return the text and the images of OpenAI's `content`."""
    if content is None or isinstance(content, str):
        return content or "", []
    texts, images = [], []
    for number, entry in enumerate(_list(content, f"{place}.content")):
        where = f"{place}.content[{number}]"
        part = _dict(entry, where)
        if part.get("type") == "text":
            texts.append(_text(part.get("text"), f"{where}.text"))
        elif part.get("type") == "image_url":
            image = _dict(part.get("image_url"), f"{where}.image_url")
            images.append(_text(image.get("url"), f"{where}.image_url.url"))
        else:
            raise ImportRefused(f"{where} is neither a text nor an image.")
    return "\n\n".join(texts), images


def _text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ImportRefused(f"{place} is no text.")
    return value


def _dict(value: Any, place: str) -> dict:
    if not isinstance(value, dict):
        raise ImportRefused(f"{place} is no object.")
    return value


def _list(value: Any, place: str) -> list:
    if not isinstance(value, list):
        raise ImportRefused(f"{place} is no list.")
    return value


def _time(value: Any) -> dt.datetime:
    """Return a time in the past, or now if `value` is none."""
    now = timezone.now()
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return now
    if moment is None or moment.tzinfo is None or not moment.year >= 2000 or moment > now:
        return now
    return moment
