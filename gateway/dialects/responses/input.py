"""The `input` of a Responses request: its checks, and the chat messages that it becomes.

Responses has separate items for reasoning, text and each function call, which chat puts into one
assistant message. They are joined into that message, in the order in which a model says them:
reasoning, text, calls. A message with calls takes in all items up to the first output, because
providers want the outputs right behind the calls. The images of outputs follow the last output.
"""

from typing import Any

from gateway.dialects.chat import messages as chat_messages
from gateway.dialects.chat.custom_tools import arguments_of
from gateway.dialects.chat.messages import MAX_MESSAGES, image_label
from gateway.dialects.chat.turns import in_turns
from gateway.dialects.responses.caller_tools import (
    CALLER_TOOLS,
    answered_call,
    calls_of,
    outputs_of,
)
from gateway.dialects.responses.seal import Seal
from gateway.dialects.responses.tools import function_name
from gateway.errors import InvalidRequest, Unprocessable
from gateway.wire.checks import (
    Check,
    Mismatch,
    by_type,
    list_of,
    missing,
    object_of,
    schema_of,
    tagged,
    takes,
    text,
    unwanted,
)
from gateway.wire.schema import NOTHING, Schema, any_of, choice


def refused(problem: str) -> Check:
    @takes(NOTHING)
    def check(value: Any) -> None:
        raise Mismatch(problem)

    return check


def check_as_chat(check: Check, value: Any, *, hidden: tuple[str | int, ...]) -> None:
    """Apply chat's own check to a translated value.

    `hidden` are the steps of an error's path that only chat has.
    """
    try:
        check(value)
    except Mismatch as mismatch:
        mismatch.steps = [step for step in mismatch.steps if step not in hidden]
        raise


# --- Checks


@takes(schema_of(chat_messages.image_address))
def _address(value: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": value}}
    message = {"role": "user", "content": [image]}
    check_as_chat(chat_messages.messages, [message], hidden=(0, "content", "image_url", "url"))


_image_members = object_of(
    {"image_url": _address, "detail": text(most=32)}, required=("image_url",)
)


@takes(schema_of(_image_members))
def _image(value: dict) -> None:
    if value.get("image_url") is None and value.get("file_id") is not None:
        raise Mismatch("names a file, and Kyma keeps none: send the image in `image_url`").under(
            "file_id"
        )
    _image_members(value)


_text = object_of({"text": text()}, required=("text",))
_refusal = object_of({"refusal": text()}, required=("refusal",))
_files = "holds a file or audio, which is not supported yet: send input_text or input_image"
_FILES = dict.fromkeys(("input_file", "input_audio"), _files)


def _tagged_but(refusals: dict[str, str], checks: dict[str, Check]) -> Check:
    """Return a check like `tagged` by `type`, with an error text for each type in `refusals`."""
    among = tagged("type", checks)

    @takes(schema_of(among))
    def check(value: Any) -> None:
        kind = value.get("type") if type(value) is dict else None
        if type(kind) is str and kind in refusals:
            raise Mismatch(refusals[kind])
        among(value)

    return check


_sent_part = _tagged_but(_FILES, {"input_text": _text, "input_image": _image, "output_text": _text})
_answered_part = _tagged_but(
    _FILES, {"output_text": _text, "refusal": _refusal, "input_text": _text}
)
_STRING_OR_PARTS = "a string or a list of parts"
_sent = object_of(
    {"content": by_type(_STRING_OR_PARTS, {str: text(), list: list_of(_sent_part, filled=True)})},
    required=("content",),
)
_answered = object_of(
    {
        "content": by_type(
            _STRING_OR_PARTS, {str: text(), list: list_of(_answered_part, filled=True)}
        )
    },
    required=("content",),
)
_message = tagged(
    "role", {"user": _sent, "assistant": _answered, "system": _sent, "developer": _sent}
)
_CALLED = {"call_id": text(filled=True), "name": text(filled=True), "namespace": text()}
_call = object_of({**_CALLED, "arguments": text()}, required=("call_id", "name", "arguments"))
_custom_call = object_of({**_CALLED, "input": text()}, required=("call_id", "name", "input"))
_output = object_of(
    {
        "call_id": text(filled=True),
        "output": by_type(_STRING_OR_PARTS, {str: text(), list: list_of(_sent_part)}),
    },
    required=("call_id", "output"),
)
_reasoning = object_of(
    {"content": list_of(_text), "summary": list_of(_text), "encrypted_content": text()}
)
# Records of tools that ran at OpenAI in an earlier conversation. Kyma skips them: the caller has
# nothing to answer there, and models don't read them.
_HOSTED = (
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "tool_search_call",
    "tool_search_output",
    "compaction",
)
_REFERENCE = (
    "refers to an item, and Kyma keeps none: send the item itself, as clients do when `store` is "
    "false"
)
_typed_item = _tagged_but(
    {"item_reference": _REFERENCE},
    {
        "message": _message,
        "function_call": _call,
        "function_call_output": _output,
        "custom_tool_call": _custom_call,
        "custom_tool_call_output": _output,
        "reasoning": _reasoning,
        **{f"{kind}_call": calls_of(kind) for kind in CALLER_TOOLS},
        **{f"{kind}_call_output": outputs_of(kind) for kind in CALLER_TOOLS},
    },
)
_hosted: Schema = {"type": "object", "properties": {"type": choice(*_HOSTED)}, "required": ["type"]}


def _untyped(message: Schema) -> Schema:
    return {**message, "properties": {"type": {"type": "null"}, **message["properties"]}}


@takes(any_of([schema_of(_typed_item), _hosted, *map(_untyped, schema_of(_message)["anyOf"])]))
def _item(value: Any) -> None:
    if type(value) is not dict:
        raise unwanted("an item such as a message", value)
    if value.get("type") in _HOSTED:
        return
    if value.get("type") is not None:
        _typed_item(value)
    elif "role" in value:
        _message(value)
    elif "id" in value:
        raise Mismatch(_REFERENCE)
    else:
        raise missing(_typed_type).under("type")


def _typed_type(value: Any) -> None:
    raise unwanted(
        "message, function_call, function_call_output, reasoning or a similar type", value
    )


items: Check = by_type(
    "a string or a list of items", {str: text(), list: list_of(_item, filled=True)}
)


# --- Messages


def messages(
    instructions: str | None, given: str | list[dict], seal: Seal | None = None
) -> list[dict]:
    """Return the chat messages of checked `instructions` and `input`. Raises GatewayError."""
    conversation = _Conversation(seal)
    if instructions:
        conversation.messages.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        conversation.messages.append({"role": "user", "content": given})
    else:
        for index, item in enumerate(given):
            conversation.take(item, index)
    made = conversation.end()
    if len(made) > MAX_MESSAGES:
        raise InvalidRequest(
            f"`input` makes {len(made):,} messages: send at most {MAX_MESSAGES:,}.", param="input"
        )
    if not made:
        raise InvalidRequest(
            "`input` holds nothing but reasoning and items of tools that ran at OpenAI: send a "
            "message with it.",
            param="input",
        )
    return in_turns(made)


class _Conversation:
    """The chat messages that the items become, built item by item."""

    def __init__(self, seal: Seal | None) -> None:
        self.messages: list[dict] = []
        self._seal = seal
        self._answer: dict | None = None  # the assistant message that can still grow
        self._thoughts: list[str] = []  # reasoning that waits for its answer
        self._images: list[dict] = []  # images of outputs, which wait for the last output
        self._called: set[str] = set()

    def take(self, item: dict, index: int) -> None:
        kind = item.get("type") or "message"
        if kind in _HOSTED:
            return
        if kind == "reasoning":
            self._thoughts.extend(_thoughts(item, self._seal))
        elif kind == "function_call":
            self._call(item, item["arguments"])
        elif kind == "custom_tool_call":
            self._call(item, arguments_of(item["input"]))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._reply(index, item["call_id"], item["output"])
        elif tool := CALLER_TOOLS.get(kind.removesuffix("_call")):
            self._call({**item, "name": tool.function["name"]}, tool.arguments(item))
        elif tool := CALLER_TOOLS.get(kind.removesuffix("_call_output")):
            self._reply(index, answered_call(item), tool.called(item))
        elif item["role"] == "assistant":
            self._say(item["content"])
        else:
            self._add({"role": item["role"], "content": _content(item["content"])})

    def end(self) -> list[dict]:
        self._show_images()
        return self.messages

    def _show_images(self) -> None:
        if self._images:
            parts = []
            for number, image in enumerate(self._images, 1):
                parts += [image_label(number), image]
            self.messages.append({"role": "user", "content": parts})
            self._images = []

    def _add(self, message: dict) -> None:
        self._answer = None
        if message["role"] != "tool":
            self._show_images()
        if message["role"] in ("user", "tool"):
            # No answer followed the thoughts. Rules may stand between thoughts and answer.
            self._thoughts = []
        self.messages.append(message)

    def _say(self, said: str | list[dict]) -> None:
        parts = [{"text": said}] if isinstance(said, str) else said
        answer = self._assistant(is_said=True)
        for member, name in (("content", "text"), ("refusal", "refusal")):
            texts = [part[name] for part in parts if name in part]
            if texts:
                answer[member] = (answer.get(member) or "") + "".join(texts)

    def _call(self, item: dict, arguments: str) -> None:
        name = function_name(item["name"], item.get("namespace"))
        function = {"name": name, "arguments": arguments}
        call = {"id": item["call_id"], "type": "function", "function": function}
        self._assistant().setdefault("tool_calls", []).append(call)
        self._called.add(item["call_id"])

    def _assistant(self, *, is_said: bool = False) -> dict:
        """Return the assistant message that the next text or call belongs to."""
        answer = self._answer
        begins = is_said or self._thoughts
        if answer is None or (begins and "tool_calls" not in answer):
            self._show_images()
            answer = self._answer = {"role": "assistant", "content": None}
            self.messages.append(answer)
        if self._thoughts:
            earlier = [answer["reasoning_content"]] if "reasoning_content" in answer else []
            answer["reasoning_content"] = "\n\n".join([*earlier, *self._thoughts])
            self._thoughts = []
        return answer

    def _reply(self, index: int, call_id: Any, output: str | list[dict]) -> None:
        if call_id not in self._called:
            param = f"input[{index}].call_id"
            raise Unprocessable(
                f"`{param}` answers a call that no earlier item has made: send that item too.",
                param=param,
            )
        self._add({"role": "tool", "tool_call_id": call_id, "content": self._output(output)})

    def _output(self, output: str | list[dict]) -> str | list[dict]:
        content = _content(output)
        if isinstance(content, str):
            return content
        parts = []
        for part in content:
            if part["type"] == "image_url":
                self._images.append(part)
                part = image_label(len(self._images))
            parts.append(part)
        return parts[0]["text"] if len(parts) == 1 else parts


def _thoughts(item: dict, seal: Seal | None) -> list[str]:
    """Return the thoughts in an item of reasoning, except those that somebody else sealed."""
    sealed = item.get("encrypted_content")
    if seal and sealed and not item.get("content") and (thought := seal.open(sealed)):
        return [thought]
    return [part["text"] for part in item.get("content") or item.get("summary") or ()]


def _content(given: str | list[dict]) -> str | list[dict]:
    """Return content in chat's form. One text alone is a string, which more models can read."""
    if isinstance(given, str):
        return given
    if not given:
        return ""
    if len(given) == 1 and "image" not in given[0]["type"]:
        return given[0]["text"]
    return [_part(part) for part in given]


def _part(part: dict) -> dict:
    if part["type"] != "input_image":
        return {"type": "text", "text": part["text"]}
    image = {"url": part["image_url"]}
    if part.get("detail") is not None:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}
