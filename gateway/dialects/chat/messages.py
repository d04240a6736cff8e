"""The messages of a chat request: their checks, and the size of the prompt that they make."""

from typing import Any

import orjson

from gateway.errors import Unprocessable
from gateway.wire.checks import (
    Check,
    Mismatch,
    by_type,
    list_of,
    matching,
    object_of,
    one_of,
    schema_of,
    tagged,
    takes,
    text,
)
from gateway.wire.schema import NOTHING, any_of

MAX_MESSAGES = 2_000

# Members that aren't prompt text. `chat.request` counts tokens for the role of each message.
_UNMEASURED_IN_MESSAGE = frozenset({"role", "cache_control"})
_UNMEASURED_IN_PART = frozenset({"type", "cache_control"})


@takes(NOTHING)
def _not_supported_yet(part: Any) -> None:
    raise Mismatch(
        "holds audio, video or a file, which is not supported yet: "
        "send parts of type text or image_url"
    )


WEB_ADDRESS = r"[Hh][Tt][Tt][Pp][Ss]?://[^\s/]"
image_address = matching(
    WEB_ADDRESS + "|[Dd][Aa][Tt][Aa]:image/[A-Za-z0-9.+_-]+;base64,[A-Za-z0-9+/]",
    "an http(s) address or data:image/…;base64,…",
    beginning=True,
)
_image: Check = by_type(
    'an object such as {"url": "https://…"}',
    {dict: object_of({"url": image_address, "detail": text(most=32)}, required=("url",))},
)
_part = tagged(
    "type",
    {
        "text": object_of({"text": text()}, required=("text",)),
        "image_url": object_of({"image_url": _image}, required=("image_url",)),
        "refusal": object_of({"refusal": text()}, required=("refusal",)),
        "input_audio": _not_supported_yet,
        "file": _not_supported_yet,
        "input_file": _not_supported_yet,
        "video_url": _not_supported_yet,
        "input_video": _not_supported_yet,
    },
)
_content = by_type("a string or a list of parts", {str: text(), list: list_of(_part, filled=True)})

_called_function = object_of(
    {"name": text(filled=True), "arguments": text()}, required=("name", "arguments")
)
_function_call = object_of(
    {"id": text(filled=True), "type": one_of("function"), "function": _called_function},
    required=("id", "function"),
)
_called_custom = object_of({"name": text(filled=True), "input": text()}, required=("name", "input"))
_custom_call = tagged(
    "type",
    {
        "custom": object_of(
            {"id": text(filled=True), "custom": _called_custom}, required=("id", "custom")
        )
    },
)


@takes(any_of([schema_of(_function_call), schema_of(_custom_call)]))
def _tool_call(value: Any) -> None:
    is_custom = type(value) is dict and value.get("type") == "custom"
    (_custom_call if is_custom else _function_call)(value)


_said = {"content": _content, "name": text()}
_said_by_assistant = _said | {
    "tool_calls": list_of(_tool_call),
    "function_call": _called_function,
    "refusal": text(),
    "reasoning": text(),
    "reasoning_content": text(),
    "reasoning_details": list_of(object_of({})),
}
_said_by_tool = _said | {"tool_call_id": text(filled=True)}
_written_by_person = object_of(_said, required=("content",))
_message = tagged(
    "role",
    {
        "system": _written_by_person,
        "developer": _written_by_person,
        "user": _written_by_person,
        "assistant": object_of(_said_by_assistant),
        "tool": object_of(_said_by_tool, required=("content", "tool_call_id")),
        "function": object_of(_said, required=("content", "name")),
    },
)
messages: Check = list_of(_message, filled=True, most=MAX_MESSAGES)


def check_tool_replies(messages: list[dict]) -> None:
    """Raise Unprocessable if a tool message answers no call of an earlier assistant message."""
    called: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            called.update(call["id"] for call in message.get("tool_calls") or ())
        elif message["role"] == "tool" and message["tool_call_id"] not in called:
            raise Unprocessable(
                f"`messages[{index}].tool_call_id` answers a call that no earlier assistant "
                "message has in its `tool_calls`: send that message too.",
                param=f"messages[{index}].tool_call_id",
            )


def image_label(number: int) -> dict:
    """Return the text that stands for an image inside a tool result.

    A tool message may hold only text, so the images follow the tool results in a user message.
    """
    return {"type": "text", "text": f"[image {number} of the tool results]"}


def size_of(value: Any) -> int:
    """Return the number of UTF-8 bytes of a text, or of any other value written as JSON."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode())
    return 0 if value is None else len(orjson.dumps(value))


def thoughts_once(messages: list[dict]) -> list[dict]:
    """Return the messages without `reasoning` where it only repeats `reasoning_content`.

    Kyma's answers carry the thoughts under both names if the provider uses the second. Sent back
    under both, they would be counted twice, and a template might even write them twice.
    """
    return [_without_twin(one) if "reasoning_content" in one else one for one in messages]


def _without_twin(message: dict) -> dict:
    if message.get("reasoning") != message["reasoning_content"]:
        return message
    return {name: member for name, member in message.items() if name != "reasoning"}


def without_nulls(messages: list[dict]) -> list[dict]:
    """Return the messages without null members, which some providers refuse.

    A null `content` stays, because other providers insist on the member.
    """
    return [_without_nulls(one) if None in one.values() else one for one in messages]


def _without_nulls(message: dict) -> dict:
    return {
        name: member for name, member in message.items() if member is not None or name == "content"
    }


# The members that requests may hold. `prefix` is Mistral's and DeepSeek's: the answer continues
# that message.
_IN_ALL = ("role", "cache_control")
_IN_PERSONS = frozenset({*_IN_ALL, *_said})
_IN_MESSAGE = {
    "assistant": frozenset({*_IN_ALL, *_said_by_assistant, "prefix"}),
    "tool": frozenset({*_IN_ALL, *_said_by_tool}),
}
_IN_PART = frozenset({"type", "text", "image_url", "refusal", "cache_control"})
_IN_CALL = frozenset({"id", "type", "function", "cache_control"})
_IN_FUNCTION = frozenset({"name", "arguments"})


def known_only(messages: list[dict]) -> list[dict]:
    """Return the messages with only the members that requests may hold.

    Clients send an answer back with every member it had, and some providers refuse members that
    they don't know.
    """
    return [_known_of(message) for message in messages]


def _known_of(message: dict) -> dict:
    known = dict(_only(_IN_MESSAGE.get(message["role"], _IN_PERSONS), message))
    if type(parts := known.get("content")) is list:
        known["content"] = [_only(_IN_PART, part) for part in parts]
    if calls := known.pop("tool_calls", None):  # Some providers refuse an empty list.
        known["tool_calls"] = [_known_call(call) for call in calls]
    return known


def _known_call(call: dict) -> dict:
    function = _only(_IN_FUNCTION, call["function"])
    return {**_only(_IN_CALL, call), "type": "function", "function": function}


def _only(names: frozenset[str], value: dict) -> dict:
    if value.keys() <= names and None not in value.values():
        return value
    return _without_nulls({name: value[name] for name in value if name in names})


def measure(messages: list[dict]) -> tuple[int, int]:
    """Return the bytes of prompt text and the number of images.

    No template may write more text than is counted here. So members that Kyma doesn't know count
    too, because some routes pass them on, and different reasoning under two names counts twice.
    """
    text_bytes = images = 0
    for message in messages:
        for name, value in message.items():
            if name == "content" and type(value) is list:
                content_bytes, content_images = _measure_parts(value)
                text_bytes += content_bytes
                images += content_images
            elif name not in _UNMEASURED_IN_MESSAGE:
                text_bytes += size_of(value)
    return text_bytes, images


def _measure_parts(parts: list[dict]) -> tuple[int, int]:
    text_bytes = images = 0
    for part in parts:
        is_image = part["type"] == "image_url"
        images += is_image
        for name, value in part.items():
            if name not in _UNMEASURED_IN_PART and not (is_image and name == "image_url"):
                text_bytes += size_of(value)
    return text_bytes, images


def have_remote_images(messages: list[dict]) -> bool:
    """Return True if an image is named by a web address, and not part of the request."""
    return any(
        part["type"] == "image_url" and part["image_url"]["url"][:5].lower() != "data:"
        for message in messages
        if type(parts := message.get("content")) is list
        for part in parts
    )
