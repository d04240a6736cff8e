"""Money is counted in whole nano-dollars: no float, no division that could make one."""

import ast

import pytest
from django.apps import apps
from django.db import models

from tests.support.sources import files, name_of, tree


def float_makers(path):
    for node in ast.walk(tree(path)):
        is_division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
        is_name = isinstance(node, ast.Name) and node.id in ("float", "round", "Decimal")
        is_import = isinstance(node, ast.Import | ast.ImportFrom) and any(
            one.name in ("math", "decimal", "statistics", "truediv") for one in node.names
        )
        if is_division or is_float or is_name or is_import:
            yield f"{name_of(path)}:{node.lineno}"


@pytest.mark.parametrize("path", files("billing"), ids=name_of)
def test_billing_makes_no_float(path):
    assert list(float_makers(path)) == []


def test_every_column_of_money_is_a_64_bit_integer():
    wrong = [
        f"{model.__name__}.{field.name}"
        for app in ("billing", "gateway")
        for model in apps.get_app_config(app).get_models()
        for field in model._meta.fields
        if field.name.endswith("_nano") and not isinstance(field, models.BigIntegerField)
    ]
    assert wrong == []


def test_billing_stores_no_float():
    inexact = models.FloatField | models.DecimalField
    for model in apps.get_app_config("billing").get_models():
        assert not [field for field in model._meta.fields if isinstance(field, inexact)]
