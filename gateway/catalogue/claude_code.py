"""Special cases for Claude Code: names of models for its picker, and its billing line.

The picker lists only model ids that contain "claude" or "anthropic". A caller who wants Kyma's
models there sends HEADER with every request, for which Claude Code has the variable
ANTHROPIC_CUSTOM_HEADERS. Only such callers see these names, which lead to the same models.
Source: https://code.claude.com/docs/en/llm-gateway-protocol, "Model discovery".
"""

import re
from collections.abc import Mapping

HEADER = "x-kyma-model-names"
HEADER_VALUE = "claude-code"
PREFIX = "claude-code/"
_BILLING_HEADER = re.compile(r"x-anthropic-billing-header:[^\n]*\n?")


def is_asked_for(headers: Mapping[str, str]) -> bool:
    """True when the caller asks for a list of models under these names."""
    return headers.get(HEADER, "").strip().lower() == HEADER_VALUE


def renamed(model: dict) -> dict:
    """Return a model object of the list under its name for Claude Code."""
    return {**model, "id": f"{PREFIX}{model['id']}"}


def own_name(name: str) -> str:
    """Return the slug or alias that `name` stands for, which is `name` without the prefix."""
    return name.removeprefix(PREFIX)


def is_billing_header(block: str) -> bool:
    """True when a text of `system` is the line that Claude Code writes there for Anthropic's bills.

    The line names version and session. With it in the prompt, no prompt cache would match, and
    providers don't have to know either of them.
    """
    return _BILLING_HEADER.fullmatch(block) is not None
