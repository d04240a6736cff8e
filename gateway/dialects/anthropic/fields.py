"""The fields of a Messages request that Kyma knows, and the values that each may hold.

A request that passes here also passes as a chat request once it is translated, so every error uses
Anthropic's name of the field. Kyma accepts and ignores fields that aren't named here.
"""

from typing import Any

from gateway.dialects.anthropic.tools import CLIENT_TOOLS
from gateway.dialects.chat.fields import FORWARDED, MAX_TOKENS, MAX_TOOLS, NAME, READ, ROUTING
from gateway.dialects.chat.messages import WEB_ADDRESS
from gateway.errors import InvalidRequest
from gateway.wire.checks import (
    Check,
    Mismatch,
    anything,
    boolean,
    by_type,
    integer,
    list_of,
    matching,
    missing,
    object_of,
    one_of,
    schema_of,
    tagged,
    takes,
    text,
    unless_true,
)
from gateway.wire.schema import NOTHING, any_of

# Kyma's own fields, the same as in a chat request.
OWN = {**ROUTING, "session_id": READ["session_id"]}

NEEDED_TO_COUNT = ("model", "messages")
NEEDED = (*NEEDED_TO_COUNT, "max_tokens")

_REFUSED_BLOCKS = {
    "container_upload": "is a file, which is not supported yet: send its text as text",
    "tool_reference": "is a reference to a tool, which is not supported: put the tool in `tools`",
    "browser_state": "is a browser's state, which is not supported yet: describe it as text",
}
_HOSTED = frozenset({"server_tool_use", "mcp_tool_use", "mcp_tool_listing", "fallback"})

_json_object = object_of({})


def _kind_of(block: Any) -> str:
    """Return the block's type, or an empty string if it has no string there."""
    kind = block.get("type") if type(block) is dict else None
    return kind if type(kind) is str else ""


def is_hosted(kind: str) -> bool:
    """True when blocks of this type record something that ran at Anthropic."""
    return kind in _HOSTED or kind.endswith("_tool_result")


def _blocks(kinds: dict[str, Check], *, filled: bool = True, hosted: bool = False) -> Check:
    """Return a check for a string or a list of blocks of these kinds.

    Each kind in _REFUSED_BLOCKS is refused with its own error text. With `hosted`, the check also
    takes blocks of tools that ran at Anthropic, and doesn't look at their members.
    """
    known = tagged("type", kinds)

    @takes(schema_of(known))
    def block(value: Any) -> None:
        kind = _kind_of(value)
        if kind in _REFUSED_BLOCKS:
            raise Mismatch(_REFUSED_BLOCKS[kind])
        if not is_hosted(kind):
            known(value)
        elif not hosted:
            raise Mismatch(
                "belongs to a tool that runs at Anthropic, and is allowed only in messages of the "
                "assistant: leave the block out"
            )

    return by_type(
        "a string or a list of blocks", {str: text(), list: list_of(block, filled=filled)}
    )


def _block(members: dict[str, Check], *required: str) -> Check:
    return object_of({**members, "cache_control": _json_object}, required=required)


@takes(NOTHING)
def _uploaded_file(source: Any) -> None:
    raise Mismatch("is an uploaded file, which is not supported: send the image as base64 or url")


_text = _block({"text": text()}, "text")
_image_source = tagged(
    "type",
    {
        "base64": object_of(
            {
                "media_type": one_of("image/jpeg", "image/png", "image/gif", "image/webp"),
                "data": matching(
                    r"(?!data:)[A-Za-z0-9+/]",
                    "base64, without `data:` before it",
                    beginning=True,
                ),
            },
            required=("media_type", "data"),
        ),
        "url": object_of(
            {"url": matching(WEB_ADDRESS, "an http(s) address", beginning=True)},
            required=("url",),
        ),
        "file": _uploaded_file,
    },
)
_image = _block({"source": _image_source}, "source")


@takes(NOTHING)
def _no_text(source: Any) -> None:
    raise Mismatch(
        "is a PDF or an uploaded file, which is not supported: send its text in a source of type "
        "text, or its pages as images"
    )


_citations = object_of(
    {
        "enabled": unless_true(
            "can't be true, as Kyma makes no citations: leave it out to get an answer without them"
        )
    }
)
_document = _block(
    {
        "source": tagged(
            "type",
            {
                "text": object_of(
                    {"media_type": one_of("text/plain"), "data": text()},
                    required=("media_type", "data"),
                ),
                "content": object_of(
                    {"content": _blocks({"text": _text, "image": _image})}, required=("content",)
                ),
                "base64": _no_text,
                "url": _no_text,
                "file": _no_text,
            },
        ),
        "title": text(),
        "context": text(),
        "citations": _citations,
    },
    "source",
)
_search_result = _block(
    {
        "title": text(),
        "source": text(),
        "content": list_of(tagged("type", {"text": _text}), filled=True),
        "citations": _citations,
    },
    "title",
    "source",
    "content",
)
_shown = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
}
_tool_result = _block(
    {
        "tool_use_id": text(filled=True),
        "content": _blocks(_shown, filled=False),
        "is_error": boolean,
    },
    "tool_use_id",
)
_tool_use = _block(
    {"id": text(filled=True), "name": text(filled=True), "input": _json_object},
    "id",
    "name",
    "input",
)
_contents = {
    "user": _blocks({**_shown, "tool_result": _tool_result}),
    "assistant": _blocks(
        {
            "text": _text,
            "thinking": _block({"thinking": text(), "signature": text()}, "thinking"),
            "redacted_thinking": _block({"data": text()}, "data"),
            "tool_use": _tool_use,
            "compaction": _block({"content": text()}),
        },
        hosted=True,
    ),
    "system": _blocks({"text": _text}),
}
_message = tagged(
    "role",
    {
        role: object_of({"content": content}, required=("content",))
        for role, content in _contents.items()
    },
)

_custom_tool = _block(
    {
        "type": one_of("custom"),
        "name": NAME,
        "description": text(),
        "input_schema": _json_object,
        "strict": boolean,
    },
    "name",
    "input_schema",
)


_client_tools = {
    kind: _block({"name": one_of(tool.name)}, "name") for kind, tool in CLIENT_TOOLS.items()
}


@takes(any_of([schema_of(_custom_tool), schema_of(tagged("type", _client_tools))]))
def _tool(value: Any) -> None:
    kind = _kind_of(value)
    if kind in _client_tools:
        _client_tools[kind](value)
    elif kind and kind != "custom":
        raise Mismatch(
            "is one of Anthropic's own tools, which Kyma doesn't have: leave it out, or describe "
            "a tool of yours with `name` and `input_schema`"
        )
    else:
        _custom_tool(value)


@takes({"type": "array", "maxItems": 0})
def _no_servers(value: Any) -> None:
    if value != []:
        raise Mismatch("is not supported: call the servers yourself, and offer them as `tools`")


_choice: dict[str, Check] = {"disable_parallel_tool_use": boolean}
_thinking = {"display": one_of("summarized", "omitted")}
_format = tagged("type", {"json_schema": object_of({"schema": _json_object}, required=("schema",))})

CHECKS: dict[str, Check] = {
    **OWN,
    "model": READ["model"],
    "max_tokens": READ["max_tokens"],
    "messages": list_of(_message, filled=True),
    "system": _blocks({"text": _text}, filled=False),
    "stream": boolean,
    "temperature": FORWARDED["temperature"],
    "top_p": FORWARDED["top_p"],
    "top_k": FORWARDED["top_k"],
    "stop_sequences": list_of(text(filled=True), most=16),
    "metadata": object_of({"user_id": READ["user"]}),
    "tools": list_of(_tool, most=MAX_TOOLS),
    "tool_choice": tagged(
        "type",
        {
            "auto": object_of(_choice),
            "any": object_of(_choice),
            "tool": object_of({**_choice, "name": NAME}, required=("name",)),
            "none": anything,
        },
    ),
    "thinking": tagged(
        "type",
        {
            "enabled": object_of(
                {**_thinking, "budget_tokens": integer(1, MAX_TOKENS)}, required=("budget_tokens",)
            ),
            "adaptive": object_of(_thinking),
            "between_tools": object_of(_thinking),
            "disabled": anything,
        },
    ),
    "output_config": object_of(
        {"effort": one_of("low", "medium", "high", "xhigh", "max"), "format": _format}
    ),
    "output_format": _format,  # The name of `output_config.format` while it was in beta.
    "mcp_servers": _no_servers,
}


def check(body: dict, *, only_count: bool = False) -> None:
    """Raise InvalidRequest, with `param` like "messages.2.content.0.text", if a field is wrong."""
    _check_thread(body.get("thread"))
    try:
        for name in NEEDED_TO_COUNT if only_count else NEEDED:
            if body.get(name) is None:
                raise missing(CHECKS[name]).under(name)
        for name, value in body.items():
            if value is not None and name in CHECKS:
                _check_field(name, value)
    except Mismatch as mismatch:
        path = ".".join(str(step) for step in reversed(mismatch.steps))
        raise InvalidRequest(f"`{path}` {mismatch.problem}.", param=path) from None
    _check_tool_results(body["messages"])
    _check_tool_choice(body.get("tool_choice"), body.get("tools") or [])


def _check_thread(thread: Any) -> None:
    """Refuse `thread`, in which Anthropic's packages ask the server to keep the conversation.

    Packages that know this error code go on without a thread.
    """
    if thread is not None:
        raise InvalidRequest(
            "`thread` is not supported, as Kyma keeps no conversations: leave it out, and send the "
            "whole conversation in `messages` each time.",
            param="thread",
            code="thread_unsupported_request",
        )


def _check_field(name: str, value: Any) -> None:
    try:
        CHECKS[name](value)
    except Mismatch as mismatch:
        raise mismatch.under(name) from None


def _check_tool_results(messages: list[dict]) -> None:
    called: set[str] = set()
    for index, message in enumerate(messages):
        for place, block in enumerate(message["content"]):
            if type(block) is str:
                break
            if block["type"] == "tool_use":
                called.add(block["id"])
            elif block["type"] == "tool_result" and block["tool_use_id"] not in called:
                param = f"messages.{index}.content.{place}.tool_use_id"
                raise InvalidRequest(
                    f"`{param}` answers a tool_use block that no earlier assistant message has: "
                    "send that message too.",
                    param=param,
                )


def _check_tool_choice(choice: dict | None, tools: list[dict]) -> None:
    if choice is None:
        return
    kind = choice["type"]
    if kind in ("any", "tool") and not tools:
        raise InvalidRequest(
            f"`tool_choice` is {kind} but there are no `tools`: send some, or leave it out.",
            param="tool_choice",
        )
    if kind == "tool" and choice["name"] not in [tool["name"] for tool in tools]:
        raise InvalidRequest(
            f"`tool_choice.name` is {choice['name']}, which isn't in `tools`: "
            "add it there or choose another.",
            param="tool_choice.name",
        )
