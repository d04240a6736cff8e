"""The other names of models: OpenRouter's, and the id at Hugging Face, in any case.

OpenRouter's names stand in catalog.toml: in the routes through OpenRouter, which needn't be in use,
and in `other_names`.
"""

import difflib
import functools
import tomllib
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from gateway.catalogue.files import DIRECTORY

OPENROUTER = "openrouter"  # the provider in catalog.toml
MAX_NAMED = 80  # Characters of an unknown name that are repeated, and compared with others.
MOST_SUGGESTED = 3
LEAST_LIKENESS = 0.5


class HasNames(Protocol):
    @property
    def slug(self) -> str: ...

    @property
    def names(self) -> frozenset[str]: ...


AnyNamed = TypeVar("AnyNamed", bound=HasNames)


def all_of(slug: str, hugging_face_id: str) -> frozenset[str]:
    """Return all names of a model in lower case."""
    given = {slug, hugging_face_id, *_in_the_files().get(slug, ())}
    return frozenset(name.lower() for name in given if name)


def named(name: str, models: Mapping[str, AnyNamed]) -> AnyNamed | None:
    """Return the model that has this name; a model's own slug wins over another's name."""
    if name in models:
        return models[name]
    wanted = name.lower()
    found = [model for model in models.values() if wanted in model.names]
    return min(found, key=lambda one: (one.slug.lower() != wanted, one.slug), default=None)


def nearest(name: str, models: Iterable[HasNames]) -> list[str]:
    """Return the slugs of the models whose names are most like this one.

    Author and suffix (`author/slug:free`) don't count.
    """
    slugs: dict[str, str] = {}
    for model in sorted(models, key=lambda one: one.slug):
        for one in sorted(model.names):
            slugs.setdefault(_last_part(one), model.slug)
    wanted = _last_part(name[:MAX_NAMED].lower())
    # One model may be found by several of its names.
    alike = difflib.get_close_matches(wanted, slugs, n=len(slugs) or 1, cutoff=LEAST_LIKENESS)
    return list(dict.fromkeys(slugs[one] for one in alike))[:MOST_SUGGESTED]


def _last_part(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


@functools.cache
def _in_the_files() -> dict[str, list[str]]:
    tables = tomllib.loads((DIRECTORY / "catalog.toml").read_text(encoding="utf-8"))["model"]
    return {table["slug"]: _names_in(table) for table in tables}


def _names_in(table: dict) -> list[str]:
    routes = [one["upstream_model"] for one in table["route"] if one["provider"] == OPENROUTER]
    return [*routes, *table.get("other_names", ())]
