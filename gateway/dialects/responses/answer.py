"""A whole chat answer as OpenAI's Responses API gives it, and the members that streams share.

Much of the caller's request, which request.chat_body has accepted, is repeated in the response.
"""

from typing import Any

from gateway.dialects.chat.answer import finish_meaning
from gateway.dialects.responses import tools as responses_tools
from gateway.dialects.responses.output import Output, Wanted
from gateway.dialects.responses.seal import Seal

SEALED = "reasoning.encrypted_content"
# The reason why an answer isn't whole, by chat's finish reason.
_CUT_OFF = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response(answer: dict, usage: dict, request: dict, seal: Seal | None = None) -> dict:
    """Return a mended chat answer as a Response. `usage` is chat's usage object."""
    choice = (answer.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    # A call's index is its place in the list. Some providers write another one.
    calls = message.get("tool_calls") or ()
    indexed = [{**call, "index": index} for index, call in enumerate(calls)]
    output = Output(suffix_of(answer["id"]), _ignore, wanted(request, seal))
    output.add({**message, "tool_calls": indexed}, choice.get("logprobs"))
    head = header(answer["id"], answer["created"], answer["model"])
    return {**head, **echo(request), **ending(output, choice.get("finish_reason"), usage)}


def wanted(request: dict, seal: Seal | None) -> Wanted:
    """Return the wishes of a request about its output.

    Reasoning is sealed if the request includes it, or is not stored: then the caller has to bring
    back what the next request needs.
    """
    is_sealed = SEALED in (request.get("include") or ()) or request.get("store") is False
    return Wanted(
        responses_tools.by_function(request.get("tools")),
        summary=bool((request.get("reasoning") or {}).get("summary")),
        seal=seal if is_sealed else None,
    )


def _ignore(name: str, said: dict) -> None:
    pass


def ending(output: Output, finish_reason: Any, usage: dict) -> dict:
    """Close the output. Return the members of a Response that say how it ended and what it has."""
    reason = _CUT_OFF.get(finish_meaning(finish_reason))
    output.close(is_whole=reason is None)
    return {
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output.items(),
        "usage": _usage(usage),
    }


def header(answer_id: str, created: int, model: str) -> dict:
    """Return the first members of each Response object of one answer."""
    return {
        "id": f"resp_{suffix_of(answer_id)}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
    }


def suffix_of(answer_id: str) -> str:
    """Return the part that the ids of a response and of its items share."""
    return answer_id.removeprefix("chatcmpl-")


def echo(request: dict) -> dict:
    """Return the members of a Response that repeat its request."""
    return {
        "background": False,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": request.get("metadata") or {},
        "parallel_tool_calls": request.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "prompt_cache_key": request.get("prompt_cache_key"),
        "reasoning": _members(request.get("reasoning"), "effort", "summary"),
        "safety_identifier": request.get("safety_identifier"),
        "service_tier": "default",
        "store": False,
        "temperature": request.get("temperature"),
        "text": _text(request.get("text") or {}),
        "tool_choice": request.get("tool_choice") or "auto",
        "tools": responses_tools.echo(request.get("tools")),
        "top_logprobs": request.get("top_logprobs") or 0,
        "top_p": request.get("top_p"),
        "truncation": "disabled",  # Kyma leaves nothing out of a prompt, even if the caller asks.
        "user": request.get("user"),
    }


def _members(given: dict | None, *names: str) -> dict:
    return {name: (given or {}).get(name) for name in names}


def _text(given: dict) -> dict:
    wanted = given.get("format") or {"type": "text"}
    members = ("name", "description", "schema", "strict") if wanted["type"] == "json_schema" else ()
    form = {"type": wanted["type"], **_members(wanted, *members)}
    verbosity = given.get("verbosity")
    return {"format": form, "verbosity": verbosity} if verbosity else {"format": form}


def _usage(usage: dict) -> dict:
    read = usage.get("prompt_tokens_details") or {}
    written = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": read.get("cached_tokens") or 0,
            "cache_write_tokens": read.get("cache_write_tokens") or 0,
        },
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
        "total_tokens": usage["total_tokens"],
        "cost": usage.get("cost"),
    }
