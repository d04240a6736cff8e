"""A Messages request translated into a chat request, and the size of its prompt in tokens.

Consecutive messages of one role are one turn at Anthropic, and here too: strict chat templates
demand that roles alternate and that tool results directly follow the calls that they answer.
`chat.turns` places the instructions.
"""

import dataclasses
import itertools
import re

import orjson

from gateway.dialects.anthropic import fields as anthropic_fields
from gateway.dialects.anthropic.fields import OWN, is_hosted
from gateway.dialects.anthropic.tools import CLIENT_TOOLS
from gateway.dialects.chat import request as chat_request
from gateway.dialects.chat.messages import MAX_MESSAGES, image_label
from gateway.dialects.chat.turns import in_turns
from gateway.dialects.request import BYTES_PER_TOKEN
from gateway.errors import InvalidRequest

_BILLING_HEADER = re.compile(r"x-anthropic-billing-header:[^\n]*\n?")

IMAGE_TOKENS = 1_600  # Anthropic's own figure for the largest image that it doesn't shrink.

_KEPT = ("model", "max_tokens", "temperature", "top_p", "top_k", "stream", *OWN)
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_body(body: dict) -> dict:
    """Translate a body that wire.body.parse returned into one for chat_request.parse.

    Raises InvalidRequest, which uses Anthropic's names of the fields.
    """
    anthropic_fields.check(body)
    return _translated(body)


def count_tokens(body: dict) -> int:
    """Estimate how many tokens the prompt of a request has. Raises InvalidRequest."""
    anthropic_fields.check(body, only_count=True)
    chat = chat_request.parse(_translated(body))
    return -(-chat.text_bytes // BYTES_PER_TOKEN) + chat.images * IMAGE_TOKENS


def _translated(body: dict) -> dict:
    given = {name: value for name, value in body.items() if value is not None}
    chat = {name: given[name] for name in _KEPT if name in given}
    chat["messages"] = _messages(given)
    if given.get("stop_sequences"):
        chat["stop"] = given["stop_sequences"]
    user = given.get("metadata", {}).get("user_id")
    if user is not None:
        chat["user"] = user
    return chat | _tools(given) | _thinking(given) | _format(given)


# --- Tools, thinking and format


def _tools(given: dict) -> dict:
    if not given.get("tools"):
        return {}
    fields: dict = {"tools": [_tool(tool) for tool in given["tools"]]}
    choice = given.get("tool_choice")
    if choice is None:
        return fields
    if choice["type"] == "tool":
        fields["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    else:
        fields["tool_choice"] = _TOOL_CHOICES[choice["type"]]
    if choice.get("disable_parallel_tool_use") and choice["type"] != "none":
        fields["parallel_tool_calls"] = False
    return fields


def _tool(tool: dict) -> dict:
    if known := CLIENT_TOOLS.get(tool.get("type") or "custom"):
        function = dataclasses.asdict(known)
        return {"type": "function", "function": function, **_cached(tool)}
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    for name in ("description", "strict"):
        if tool.get(name) is not None:
            function[name] = tool[name]
    return {"type": "function", "function": function, **_cached(tool)}


def _thinking(given: dict) -> dict:
    """Return `reasoning` and `reasoning_effort`; without `thinking`, the model's default holds."""
    thinking = given.get("thinking")
    if thinking and thinking["type"] == "disabled":
        return {"reasoning": {"enabled": False}}
    fields: dict = {}
    if thinking:
        fields["reasoning"] = {"enabled": True}
        if thinking["type"] == "enabled":
            fields["reasoning"]["max_tokens"] = thinking["budget_tokens"]
        if thinking.get("display") == "omitted":
            fields["reasoning"]["exclude"] = True
    effort = given.get("output_config", {}).get("effort")
    if effort is not None:
        fields["reasoning_effort"] = effort
    return fields


def _format(given: dict) -> dict:
    wanted = given.get("output_config", {}).get("format") or given.get("output_format")
    if not wanted:
        return {}
    schema = {"name": "answer", "schema": wanted["schema"], "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


# --- Messages


def _messages(given: dict) -> list[dict]:
    messages = _system(_instructions(given.get("system") or []))
    for role, turn in itertools.groupby(given["messages"], key=lambda message: message["role"]):
        contents = [message["content"] for message in turn]
        if role == "system":
            messages += [one for content in contents for one in _system(content)]
            continue
        blocks = [block for content in contents for block in _blocks(content)]
        messages += _assistant(blocks) if role == "assistant" else _user(blocks)
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(
            f"`messages` holds more than the {MAX_MESSAGES:,} messages and tool results that Kyma "
            "takes: leave out some of the oldest.",
            param="messages",
        )
    return in_turns(messages)


def _blocks(content: str | list[dict]) -> list[dict]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _instructions(system: str | list[dict]) -> list[dict]:
    """Return the blocks of `system` without Claude Code's billing line."""
    return [block for block in _blocks(system) if not is_billing_header(block["text"])]


def _system(content: str | list[dict]) -> list[dict]:
    parts = [_part(block) for block in _blocks(content)]
    return [{"role": "system", "content": _content(parts)}] if parts else []


def _user(blocks: list[dict]) -> list[dict]:
    """Return one message for each tool result, then one user message with all other blocks.

    A tool message may hold only text, so the images of tool results go into the user message.
    """
    messages: list[dict] = []
    parts: list[dict] = []
    images: list[dict] = []
    for block in blocks:
        if block["type"] == "tool_result":
            messages.append(_tool_message(block, images))
        else:
            parts += _parts(block)
    for number, image in enumerate(images, 1):
        parts[2 * number - 2 : 2 * number - 2] = [image_label(number), image]
    if parts:
        messages.append({"role": "user", "content": _content(parts)})
    return messages


def _tool_message(block: dict, images: list[dict]) -> dict:
    """Return the tool result as one text, and add its images to `images`."""
    texts = []
    cached = _cached(block)
    parts = [part for inner in _blocks(block.get("content") or []) for part in _parts(inner)]
    for part in parts:
        cached = cached or _cached(part)
        if part["type"] == "image_url":
            images.append(part)
            part = image_label(len(images))
        texts.append(part["text"])
    said = "\n".join(texts)
    if block.get("is_error"):
        said = f"Error: {said}" if said else "Error"
    content = _content([{"type": "text", "text": said, **cached}])
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}


def _assistant(blocks: list[dict]) -> list[dict]:
    """Return one message, or none if all blocks only record what ran at Anthropic."""
    of_type: dict[str, list[dict]] = {}
    for block in blocks:
        if block["type"] == "compaction":  # A summary that replaces the earlier conversation.
            block = {**block, "type": "text", "text": block.get("content") or ""}
        if not is_hosted(block["type"]):
            of_type.setdefault(block["type"], []).append(block)
    if not of_type:
        return []
    message: dict = {"role": "assistant", "content": _said(of_type.get("text", []))}
    if calls := of_type.get("tool_use"):
        message["content"] = message["content"] or None
        message["tool_calls"] = [_tool_call(block) for block in calls]
    if thoughts := [block["thinking"] for block in of_type.get("thinking", [])]:
        message["reasoning_content"] = "\n\n".join(thoughts)
    if hidden := of_type.get("redacted_thinking"):
        message["reasoning_details"] = [
            {"type": "reasoning.encrypted", "data": block["data"]} for block in hidden
        ]
    return [message]


def _said(blocks: list[dict]) -> str | list[dict]:
    """Join the blocks into one text, which all templates know, unless one has a cache mark.

    A cache mark needs its place between the blocks.
    """
    if any(_cached(block) for block in blocks):
        return [_part(block) for block in blocks]
    return "".join(block["text"] for block in blocks)


def _tool_call(block: dict) -> dict:
    function = {"name": block["name"], "arguments": orjson.dumps(block["input"]).decode()}
    return {"id": block["id"], "type": "function", "function": function}


def _parts(block: dict) -> list[dict]:
    """Return a document or search result as text in tags that name it, other blocks as parts."""
    kind = block["type"]
    if kind == "document":
        source = block["source"]
        inner = _blocks(source["data"] if source["type"] == "text" else source["content"])
        return _framed(block, inner, "title", "context")
    if kind == "search_result":
        return _framed(block, block["content"], "title", "source")
    return [_part(block)]


def _framed(block: dict, inner: list[dict], *names: str) -> list[dict]:
    lines = [f"<{name}>{block[name]}</{name}>" for name in names if block.get(name)]
    parts = [_line(f"<{block['type']}>"), *map(_line, lines)]
    for one in inner:
        part = _part(one)
        parts.append(_line(part["text"], one) if part["type"] == "text" else part)
    return _joined([*parts, _line(f"</{block['type']}>", block)])


def _line(said: str, marked: dict | None = None) -> dict:
    return {"type": "text", "text": f"{said}\n", **_cached(marked or {})}


def _joined(parts: list[dict]) -> list[dict]:
    """Join consecutive texts, so that all templates write them alike; a cache mark ends a text."""
    runs: list[list[dict]] = []
    for part in parts:
        if runs and part["type"] == "text" and runs[-1][-1].keys() == {"type", "text"}:
            runs[-1].append(part)
        else:
            runs.append([part])
    return [
        {**run[-1], "text": "".join(one["text"] for one in run)} if len(run) > 1 else run[0]
        for run in runs
    ]


def _part(block: dict) -> dict:
    if block["type"] == "text":
        return {"type": "text", "text": block["text"], **_cached(block)}
    source = block["source"]
    url = source.get("url")
    if source["type"] == "base64":
        url = f"data:{source['media_type']};base64,{source['data']}"
    return {"type": "image_url", "image_url": {"url": url}, **_cached(block)}


def _content(parts: list[dict]) -> str | list[dict]:
    """Return a lone text as a string, as most clients would send it, and other parts as a list."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _cached(block: dict) -> dict:
    """Return the block's prompt-cache mark as a member to add, or nothing if it has none."""
    mark = block.get("cache_control")
    return {} if mark is None else {"cache_control": mark}


def is_billing_header(block: str) -> bool:
    """True when a text of `system` is the line that Claude Code writes there for Anthropic's bills.

    The line names version and session. With it in the prompt, no prompt cache would match, and
    providers don't have to know either of them.
    """
    return _BILLING_HEADER.fullmatch(block) is not None
