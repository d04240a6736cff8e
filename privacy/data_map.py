"""Finds all data of a person, by the apps' `personal_data.py`, as querysets."""

import importlib
import uuid
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet
from django.utils.module_loading import module_has_submodule


def registers() -> dict[str, dict[str, Any]]:
    """Return the registered fields of each model with personal data, also in other packages."""
    found: dict[str, dict[str, Any]] = {}
    for config in apps.get_app_configs():
        if config.module and module_has_submodule(config.module, "personal_data"):
            register = importlib.import_module(f"{config.name}.personal_data")
            found.update(register.PERSONAL_DATA)
            found.update(getattr(register, "OTHERS_PERSONAL_DATA", {}))
    return found


def rows_of(person: uuid.UUID) -> Iterator[tuple[type[Model], QuerySet]]:
    """Yield each model with personal data, and this person's rows of it."""
    for label, said in registers().items():
        model = apps.get_model(label)
        yield model, model._default_manager.filter(**_condition(person, said["person"]))


def _condition(person: uuid.UUID, found_by: str | tuple[str, ...]) -> dict[str, Any]:
    if isinstance(found_by, str):
        return {found_by: person}
    column, label, *others = found_by
    other = apps.get_model(label)
    condition = _condition(person, registers()[label]["person"])
    (their_column,) = others or ["pk"]
    return {f"{column}__in": other._default_manager.filter(**condition).values(their_column)}
