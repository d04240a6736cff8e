"""What is Claude Code's alone: names of models for it, and what it says of itself.

Its picker lists only ids of models that hold "claude" or "anthropic". Whoever wants Kyma's there
says so in a header of every request, as Claude Code's variable ANTHROPIC_CUSTOM_HEADERS can; nobody
else sees these names. They lead to the same models.
Source: https://code.claude.com/docs/en/llm-gateway-protocol, "Model discovery".
"""

import re
from collections.abc import Mapping

HEADER = "x-kyma-model-names"
HEADER_VALUE = "claude-code"
PREFIX = "claude-code/"
_BILLING_HEADER = re.compile(r"x-anthropic-billing-header:[^\n]*\n?")


def is_asked_for(headers: Mapping[str, str]) -> bool:
    """Whether a list of models shall bear these names."""
    return headers.get(HEADER, "").strip().lower() == HEADER_VALUE


def renamed(model: dict) -> dict:
    """A model object of the list, under its name for Claude Code."""
    return {**model, "id": f"{PREFIX}{model['id']}"}


def own_name(name: str) -> str:
    """The slug or alias that `name` stands for: without the prefix, if it has one."""
    return name.removeprefix(PREFIX)


def is_billing_header(block: str) -> bool:
    """Whether a text of `system` is the line that its prompts begin with, for Anthropic's bills. It
    tells version and session: no prompt cache would know the prompt again, and no provider has to
    know either.
    """
    return _BILLING_HEADER.fullmatch(block) is not None
