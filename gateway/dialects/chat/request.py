"""A chat request, checked and measured.

`parse` takes a body that wire.body.parse returned, or one that Kyma wrote itself.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gateway.dialects import request as provider_request
from gateway.dialects.chat import custom_tools, turns
from gateway.dialects.chat import messages as chat_messages
from gateway.dialects.chat.fields import (
    FORWARDED,
    READ,
    ROUTING,
    check_together,
    drop_what_has_no_tools,
    offer_only_allowed,
)
from gateway.dialects.chat.messages import size_of
from gateway.dialects.request import (
    DEFAULT_MAX_TOKENS,
    Endpoint,
    FieldTable,
    ProviderRequest,
    SortedFields,
)

TOKENS_PER_MESSAGE = 16  # At most: the role and separators that a chat template writes.
TOKENS_FOR_TOOLS = 256  # The instructions for calling tools that templates write.
# Templates write these into the prompt, or providers bill them as if templates did.
_PROMPT_FIELDS = ("tools", "functions", "prediction")

TABLE = FieldTable(FORWARDED, READ, ROUTING, required=("model", "messages"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest(ProviderRequest):
    endpoint: ClassVar[Endpoint] = provider_request.CHAT
    has_template: ClassVar[bool] = True

    messages: list[dict]
    message_count: int

    @property
    def frame_tokens(self) -> int:
        tools = TOKENS_FOR_TOOLS if self.fields.get("tools") else 0
        return TOKENS_PER_MESSAGE * self.message_count + tools

    @property
    def has_remote_images(self) -> bool:
        return self.images > 0 and chat_messages.have_remote_images(self.messages)

    @property
    def hides_reasoning(self) -> bool:
        return self.fields.get("reasoning", {}).get("exclude") is True

    def in_turns(self) -> "ChatRequest | None":
        messages = turns.in_turns(self.messages)
        return None if messages == self.messages else replace(self, messages=messages)

    @property
    def content(self) -> dict[str, Any]:
        return {"messages": self.messages}

    @property
    def known_content(self) -> dict[str, Any]:
        return {"messages": chat_messages.known_only(self.messages)}


def parse(body: dict, *, default_max_tokens: int = DEFAULT_MAX_TOKENS) -> ChatRequest:
    found = TABLE.sort(body)
    custom_tools.offer_functions(found.fields)
    check_together(found.fields)
    offer_only_allowed(found.fields)
    drop_what_has_no_tools(found.fields)
    chat_messages.check_tool_replies(found.read["messages"])
    return _request(found, default_max_tokens)


def _request(found: SortedFields, default_max_tokens: int) -> ChatRequest:
    read = found.read
    messages = chat_messages.without_nulls(custom_tools.call_functions(read["messages"]))
    messages = chat_messages.thoughts_once(messages)
    message_bytes, images = chat_messages.measure(messages)
    return ChatRequest(
        **found.common(),
        messages=messages,
        stream=read.get("stream", False),
        include_usage=found.wants_usage(),
        max_tokens=read.get("max_completion_tokens") or read.get("max_tokens"),
        default_max_tokens=default_max_tokens,
        n=read.get("n", 1),
        text_bytes=message_bytes + _field_bytes(found.fields, found.unknown),
        message_count=len(messages),
        images=images,
    )


def _field_bytes(fields: dict, unknown: dict) -> int:
    in_prompt = [fields[name] for name in _PROMPT_FIELDS if name in fields]
    in_prompt.append(fields.get("response_format", {}).get("json_schema"))
    in_prompt.extend(unknown.values())
    return sum(size_of(value) for value in in_prompt)
