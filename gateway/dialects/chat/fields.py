"""The fields of a chat request that Kyma knows: what each may hold, and where it goes.

Kyma forwards a field to the provider as it came, keeps it for routing, or reads it. A field that
Kyma reads is rewritten for the provider if the provider needs it, and otherwise left out.
"""

from typing import Any

from gateway.dialects.chat import messages as chat_messages
from gateway.dialects.chat.custom_tools import GRAMMAR
from gateway.errors import Unprocessable
from gateway.wire.checks import (
    Check,
    anything,
    boolean,
    by_type,
    integer,
    list_of,
    mapping_of,
    matching,
    number,
    object_of,
    one_of,
    refused,
    tagged,
    takes,
    text,
    unwanted,
)

MAX_ANSWERS = 8
MAX_TOKENS = 2**31 - 1  # no model has more, and no price makes it overflow 64 bits
MAX_TOOLS = 1_024  # Agents offer the tools of several MCP servers at once.

_json_object = object_of({})
MAX_NAME = 128  # As at Anthropic: agents put the server's name before the tool's name.
NAME = matching(rf"[a-zA-Z0-9_-]{{1,{MAX_NAME}}}", f"1 to {MAX_NAME} letters, digits, _ or -")
_model = text(filled=True, most=200)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_effort = one_of(*EFFORTS)
_token_limit = integer(1, MAX_TOKENS)
_penalty = number(-2, 2)

FUNCTION = object_of(
    {"name": NAME, "description": text(), "parameters": _json_object, "strict": boolean},
    required=("name",),
)
_custom = object_of(
    {
        "name": NAME,
        "description": text(),
        "format": tagged(
            "type",
            {"text": anything, "grammar": object_of({"grammar": GRAMMAR}, required=("grammar",))},
        ),
    },
    required=("name",),
)
_tool = tagged(
    "type",
    {
        "function": object_of({"function": FUNCTION}, required=("function",)),
        "custom": object_of({"custom": _custom}, required=("custom",)),
    },
)
_named = object_of({"name": NAME}, required=("name",))
_schema = {"name": NAME, "description": text(), "schema": _json_object, "strict": boolean}
# Responses requires `schema`; chat doesn't.
JSON_SCHEMA = object_of(_schema, required=("name", "schema"))
_one_tool = {
    "function": object_of({"function": _named}, required=("function",)),
    "custom": object_of({"custom": _named}, required=("custom",)),
}
_allowed_tools = object_of(
    {
        "mode": one_of("auto", "required"),
        "tools": list_of(tagged("type", _one_tool), filled=True, most=MAX_TOOLS),
    },
    required=("mode", "tools"),
)
_response_format = tagged(
    "type",
    {
        "text": anything,
        "json_object": anything,
        "json_schema": object_of(
            {"json_schema": object_of(_schema, required=("name",))}, required=("json_schema",)
        ),
    },
)

FORWARDED: dict[str, Check] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "stop": by_type(
        "a string that isn't empty or a list of up to 16 of them",
        {str: text(filled=True), list: list_of(text(filled=True), most=16)},
    ),
    "seed": integer(-(2**63), 2**63 - 1),
    "frequency_penalty": _penalty,
    "presence_penalty": _penalty,
    "logit_bias": mapping_of(number(-100, 100)),
    "logprobs": boolean,
    "top_logprobs": integer(0, 20),
    "response_format": _response_format,
    "tools": list_of(_tool, most=MAX_TOOLS),
    "tool_choice": by_type(
        'none, auto, required or {"type": "function", "function": {"name": "…"}}',
        {
            str: one_of("none", "auto", "required"),
            dict: tagged(
                "type",
                {
                    **_one_tool,
                    "allowed_tools": object_of(
                        {"allowed_tools": _allowed_tools}, required=("allowed_tools",)
                    ),
                },
            ),
        },
    ),
    "parallel_tool_calls": boolean,
    "reasoning_effort": _effort,
    "prediction": _json_object,
    "modalities": list_of(one_of("text")),
    "top_k": integer(-1, MAX_TOKENS),
    "min_p": number(0, 1),
    "top_a": number(0, 1),
    "repetition_penalty": number(0, 2, without_low=True),
    "reasoning": object_of(
        {
            "effort": _effort,
            "max_tokens": integer(0, MAX_TOKENS),
            "exclude": boolean,
            "enabled": boolean,
        }
    ),
    "cache_control": _json_object,
    "functions": list_of(FUNCTION, most=MAX_TOOLS),
    "function_call": by_type(
        'none, auto or {"name": "…"}', {str: one_of("none", "auto"), dict: _named}
    ),
}

# Compression shortens what a model couldn't read at all: such a request is refused instead.
_HARMLESS_PLUGIN = "context-compression"


@takes(
    {
        "type": "object",
        "anyOf": [
            {"properties": {"id": {"const": _HARMLESS_PLUGIN}}, "required": ["id"]},
            {"properties": {"enabled": {"const": False}}, "required": ["enabled"]},
        ],
    }
)
def _plugin(value: Any) -> None:
    """Refuse a plugin that would change the answer: Kyma runs none."""
    _json_object(value)
    if value.get("enabled") is not False and value.get("id") != _HARMLESS_PLUGIN:
        raise unwanted(f"{_HARMLESS_PLUGIN} or switched off, as Kyma runs no plugins", value)


_names = list_of(text(filled=True, most=200), most=64)
_amount = by_type(
    "a number or a decimal string",
    {
        int: number(0, 1e9),
        float: number(0, 1e9),
        str: matching(r"[0-9]{1,9}(\.[0-9]{1,18})?", "a decimal number"),
    },
)
_preference = by_type(
    "a number or an object of numbers by percentile",
    {int: number(0, 1e9), float: number(0, 1e9), dict: mapping_of(number(0, 1e9))},
)

ROUTING: dict[str, Check] = {
    "models": list_of(_model, most=32),
    "route": text(),
    "provider": object_of(
        {
            "order": _names,
            "only": _names,
            "ignore": _names,
            "quantizations": _names,
            "allow_fallbacks": boolean,
            "require_parameters": boolean,
            "zdr": boolean,
            "enforce_distillable_text": boolean,
            "data_collection": one_of("allow", "deny"),
            "sort": by_type(
                "price, throughput or latency",
                {str: one_of("price", "throughput", "latency"), dict: _json_object},
            ),
            "max_price": object_of(
                dict.fromkeys(("prompt", "completion", "request", "image"), _amount)
            ),
            "preferred_min_throughput": _preference,
            "preferred_max_latency": _preference,
        }
    ),
    "transforms": list_of(text()),
    "plugins": list_of(_plugin),
    "web_search_options": refused("must be left out: Kyma searches no web"),
    "trace": _json_object,
    "debug": object_of({"echo_upstream_body": boolean}),
}

# Fields of every endpoint that Kyma reads and never forwards.
KEPT: dict[str, Check] = {
    "user": text(most=512),
    "session_id": text(most=256),
    "safety_identifier": text(most=512),
    "prompt_cache_key": text(most=512),
    "metadata": _json_object,
    "store": boolean,
    "service_tier": text(),
}

# Fields that Kyma reads: see the top of this file.
READ: dict[str, Check] = {
    "model": _model,
    "messages": chat_messages.messages,
    "stream": boolean,
    "stream_options": object_of({"include_usage": boolean}),
    "usage": object_of({"include": boolean}),
    "max_tokens": _token_limit,
    "max_completion_tokens": _token_limit,
    "n": integer(1, MAX_ANSWERS),
    **KEPT,
}

CHECKS: dict[str, Check] = FORWARDED | ROUTING | READ


def check_together(fields: dict) -> None:
    """Refuse forwarded fields that are valid one by one but contradict each other."""
    if "top_logprobs" in fields and fields.get("logprobs") is not True:
        raise Unprocessable(
            "`top_logprobs` needs `logprobs`: set `logprobs` to true or leave `top_logprobs` out.",
            param="top_logprobs",
        )
    tools = fields.get("tools") or []
    choice = fields.get("tool_choice")
    if choice == "required" and not tools:
        raise Unprocessable(
            "`tool_choice` is required but there are no `tools`: send some, or leave it out.",
            param="tool_choice",
        )
    if type(choice) is dict:
        offered = [tool["function"]["name"] for tool in tools]
        for chosen in _chosen(choice):
            _check_offered(chosen, offered, "tool_choice", "tools")
    legacy_choice = fields.get("function_call")
    if type(legacy_choice) is dict:
        offered = [function["name"] for function in fields.get("functions") or []]
        _check_offered(legacy_choice["name"], offered, "function_call", "functions")


def _chosen(choice: dict) -> list[str]:
    tools = choice["allowed_tools"]["tools"] if choice["type"] == "allowed_tools" else [choice]
    return [tool["function"]["name"] for tool in tools]


def offer_only_allowed(fields: dict) -> None:
    """If `tool_choice` allows only some tools, offer only these.

    Few providers know that kind of choice, and a model can't choose a tool that it doesn't see.
    """
    choice = fields.get("tool_choice")
    if type(choice) is dict and choice["type"] == "allowed_tools":
        allowed = frozenset(_chosen(choice))
        fields["tools"] = [one for one in fields["tools"] if one["function"]["name"] in allowed]
        fields["tool_choice"] = choice["allowed_tools"]["mode"]


def drop_what_has_no_tools(fields: dict) -> None:
    """Remove empty lists of tools, and the fields about their use: some providers refuse both."""
    if not fields.get("tools"):
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            fields.pop(name, None)
    if not fields.get("functions"):
        for name in ("functions", "function_call"):
            fields.pop(name, None)


def _check_offered(name: str, offered: list[str], param: str, list_param: str) -> None:
    if name not in offered:
        raise Unprocessable(
            f"`{param}` names the function {name}, which isn't in `{list_param}`: "
            "add it there or choose another.",
            param=param,
        )
