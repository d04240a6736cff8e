"""A request to OpenAI's Responses API, translated into the chat request that means the same.

Fields that are translated are checked here, under the caller's names for them. Fields that have the
same name in chat pass unchanged, and chat checks them. Kyma keeps no responses, so it refuses every
field that needs a stored one. `responses.tools` translates the tools.
"""

from gateway.dialects.chat.fields import CHECKS, JSON_SCHEMA, MAX_TOOLS, ROUTING
from gateway.dialects.responses import input as responses_input
from gateway.dialects.responses import tools as responses_tools
from gateway.dialects.responses.caller_tools import CALLER_TOOLS
from gateway.dialects.responses.input import refused
from gateway.dialects.responses.seal import Seal
from gateway.wire.checks import (
    Check,
    Mismatch,
    boolean,
    by_type,
    list_of,
    mapping_of,
    missing,
    object_of,
    one_of,
    tagged,
    text,
    unless_true,
)

_SAME_IN_CHAT = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "metadata",
    "service_tier",
    # Not part of the Responses API, but useful with open models.
    "session_id",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "top_k",
    "min_p",
    "top_a",
    "repetition_penalty",
    *ROUTING,
)
_SCHEMA = ("name", "description", "schema", "strict")
_LOGPROBS = "message.output_text.logprobs"


def chat_body(body: dict, seal: Seal | None = None) -> dict:
    """Return the body for chat_request.parse. Raises GatewayError.

    `seal` opens the sealed reasoning of earlier responses.
    """
    _check(body)
    chat = {name: body[name] for name in _SAME_IN_CHAT if body.get(name) is not None}
    chat["messages"] = responses_input.messages(body.get("instructions"), body["input"], seal)
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = body["max_output_tokens"]
    return chat | _tool_fields(body) | _reasoning(body) | _response_format(body) | _logprobs(body)


# --- Checks


_chosen = object_of({"name": text(filled=True), "namespace": text()}, required=("name",))
_one_tool = {"function": _chosen, "custom": _chosen, **dict.fromkeys(CALLER_TOOLS, object_of({}))}
_allowed_tool = tagged("type", _one_tool)
_tool_choice = by_type(
    'none, auto, required or {"type": "function", "name": "…"}',
    {
        str: one_of("none", "auto", "required"),
        dict: tagged(
            "type",
            {
                **_one_tool,
                "allowed_tools": object_of(
                    {
                        "mode": one_of("auto", "required"),
                        "tools": list_of(_allowed_tool, filled=True, most=MAX_TOOLS),
                    },
                    required=("mode", "tools"),
                ),
            },
        ),
    },
)
_format = tagged(
    "type",
    {"text": object_of({}), "json_object": object_of({}), "json_schema": JSON_SCHEMA},
)
_ALL_IN_INPUT = "leave it out, and send the whole conversation in `input` each time"
_RECEIVED: dict[str, Check] = {
    "store": unless_true(
        "can't be true, as Kyma keeps no responses: send false, and the whole conversation in "
        "`input` each time"
    ),
    "previous_response_id": refused(f"names a response, and Kyma keeps none: {_ALL_IN_INPUT}"),
    "conversation": refused(f"names a conversation, and Kyma keeps none: {_ALL_IN_INPUT}"),
    "background": unless_true(
        "can't be true, as Kyma keeps no responses to be fetched later: leave it out, and set "
        "`stream` to true for long answers"
    ),
    "prompt": refused(
        "names a prompt template, and Kyma keeps none: leave it out, and send its text in "
        "`instructions` and `input`"
    ),
    "instructions": text(),
    "input": responses_input.items,
    "tools": responses_tools.tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": boolean,
    "max_output_tokens": CHECKS["max_tokens"],
    "reasoning": object_of(
        {
            "effort": CHECKS["reasoning_effort"],
            "summary": one_of("auto", "concise", "detailed"),
        }
    ),
    "text": object_of({"format": _format, "verbosity": one_of("low", "medium", "high")}),
    "include": list_of(text()),
    "top_logprobs": CHECKS["top_logprobs"],
    "truncation": one_of("auto", "disabled"),
    "metadata": mapping_of(text()),
}

FIELDS: dict[str, Check] = {**{name: CHECKS[name] for name in _SAME_IN_CHAT}, **_RECEIVED}


def _check(body: dict) -> None:
    for name, check in _RECEIVED.items():
        if body.get(name) is None:
            continue
        try:
            check(body[name])
        except Mismatch as mismatch:
            raise mismatch.under(name).as_error() from None
    if body.get("tool_choice") == "required":
        responses_tools.check_all_are_offered(body.get("tools") or ())
    if body.get("input") is None:
        raise missing(_RECEIVED["input"]).under("input").as_error()


# --- Translations


def _members(given: dict, *names: str) -> dict:
    return {name: given[name] for name in names if given.get(name) is not None}


def _tool_fields(body: dict) -> dict:
    """Return `tools` and the fields about their use, which some providers refuse without tools."""
    choice = body.get("tool_choice")
    offered = [tool.function for tool in responses_tools.offered(body.get("tools"))]
    if type(choice) is dict and choice["type"] == "allowed_tools":
        offered = _allowed(offered, choice["tools"])
        choice = choice["mode"]
    elif type(choice) is dict:
        choice = {"type": "function", "function": {"name": _function_name(choice)}}
    fields: dict = {}
    if choice is not None and (offered or choice not in ("auto", "none")):
        fields["tool_choice"] = choice
    if offered:
        fields["tools"] = [{"type": "function", "function": function} for function in offered]
        fields |= _members(body, "parallel_tool_calls")
    return fields


def _allowed(offered: list[dict], allowed: list[dict]) -> list[dict]:
    """Return only the allowed functions: the model can't choose a function that it doesn't see."""
    known = {function["name"] for function in offered}
    for index, tool in enumerate(allowed):
        if _function_name(tool) not in known:
            mismatch = Mismatch(
                "names a tool that isn't in `tools`: add it there or choose another"
            )
            for step in ("name", index, "tools", "tool_choice"):
                mismatch.under(step)
            raise mismatch.as_error()
    names = {_function_name(tool) for tool in allowed}
    return [function for function in offered if function["name"] in names]


def _function_name(chosen: dict) -> str:
    if chosen["type"] in CALLER_TOOLS:
        return chosen["type"]
    return responses_tools.function_name(chosen["name"], chosen.get("namespace"))


def _reasoning(body: dict) -> dict:
    effort = (body.get("reasoning") or {}).get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _response_format(body: dict) -> dict:
    wanted = (body.get("text") or {}).get("format") or {"type": "text"}
    if wanted["type"] == "text":
        return {}
    if wanted["type"] == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = _members(wanted, *_SCHEMA)
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _logprobs(body: dict) -> dict:
    most = body.get("top_logprobs")
    if not most and _LOGPROBS not in (body.get("include") or ()):
        return {}
    return {"logprobs": True} | ({"top_logprobs": most} if most else {})
