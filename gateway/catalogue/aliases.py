"""Aliases: names of purposes, each with a list of models in `aliases.toml`."""

import tomllib
from collections.abc import Callable
from pathlib import Path

ALIASES: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)


def model_of(alias: str, is_usable: Callable[[str], bool]) -> str | None:
    """Return the slug of the first usable model that `alias` stands for, or None."""
    return next(filter(is_usable, ALIASES.get(alias, ())), None)
