"""The `prompt` of completions and the `input` of embeddings: one or many, as text or as tokens."""

from dataclasses import dataclass
from typing import Any

from gateway.dialects.chat.messages import size_of
from gateway.wire.checks import Check, by_type, integer, list_of, schema_of, takes, text
from gateway.wire.schema import any_of

_text = text(filled=True)
_token = integer(0, 2**31 - 1)
_tokens = list_of(_token, filled=True)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The number of inputs, the bytes of all texts, and the number of all token ids."""

    count: int
    text_bytes: int
    token_ids: int

    @classmethod
    def of(cls, value: Any) -> "Inputs":
        """Measure a value that has passed a check made by `inputs`."""
        items = value if type(value) is list and type(value[0]) is not int else [value]
        text_bytes = sum(size_of(item) for item in items if type(item) is str)
        token_ids = sum(len(item) for item in items if type(item) is list)
        return cls(len(items), text_bytes, token_ids)


def inputs(most: int) -> Check:
    """Return a check for one input or a list of at most `most`; an input is a text or token ids.

    No input and no list may be empty.
    """
    kinds = {
        str: list_of(_text, filled=True, most=most),
        list: list_of(_tokens, filled=True, most=most),
        int: _tokens,
    }
    wanted = "a string, a list of strings, a list of token ids or a list of such lists"

    @takes(any_of(schema_of(check) for check in kinds.values()))
    def check_list(value: list) -> None:
        kinds.get(type(value[0]) if value else str, kinds[str])(value)

    return by_type(wanted, {str: _text, list: check_list})
