"""Special cases for Claude Code: names of models for its picker, and its billing line.

The picker lists only model ids that contain "claude" or "anthropic". A caller who wants Kyma's
models there sends HEADER with every request, for which Claude Code has the variable
ANTHROPIC_CUSTOM_HEADERS. Only such callers see these names, which lead to the same models.
Source: https://code.claude.com/docs/en/llm-gateway-protocol, "Model discovery".
"""

from collections.abc import Mapping

HEADER = "x-kyma-model-names"
HEADER_VALUE = "claude-code"
PREFIX = "claude-code/"


def is_asked_for(headers: Mapping[str, str]) -> bool:
    """True when the caller asks for a list of models under these names."""
    return headers.get(HEADER, "").strip().lower() == HEADER_VALUE


def renamed(model: dict) -> dict:
    """Return a model object of the list under its name for Claude Code."""
    return {**model, "id": f"{PREFIX}{model['id']}"}


def own_name(name: str) -> str:
    """Return the slug or alias that `name` stands for, which is `name` without the prefix."""
    return name.removeprefix(PREFIX)
