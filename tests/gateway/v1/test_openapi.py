"""The document is valid OpenAPI, and names each operation of the gateway."""

import asyncio
import re
from types import SimpleNamespace

import jsonschema_rs
import pytest
import schemathesis

from gateway.errors import MethodNotAllowed
from gateway.v1 import urls
from gateway.v1.openapi import document
from tests.support.gateway.http_client import send

DOCUMENT = document.document()
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def without_names(path: str) -> str:
    return re.sub(r"<[^>]*>|\{[^}]*\}", "{}", path)


def allowed(view) -> list[str]:
    """The methods that a view allows, as it tells who uses another."""
    with pytest.raises(MethodNotAllowed) as refused:
        asyncio.run(view(SimpleNamespace(method="TRACE")))
    return refused.value.headers["Allow"].split(", ")


def test_it_names_each_operation_of_the_gateway_and_no_other():
    served = {
        (f"/{without_names(str(pattern.pattern))}", method.lower())
        for pattern in urls.urlpatterns
        for method in allowed(pattern.callback)
        if method != "HEAD"
    }
    assert {(without_names(path), method) for path, method, _ in OPERATIONS} == served


def test_it_is_valid_openapi():
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for name, schema in DOCUMENT["components"]["schemas"].items():
        dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
        assert jsonschema_rs.meta.is_valid({**dialect, **schema}), name


def test_each_reference_leads_somewhere_and_each_component_is_used():
    references = set(re.findall(r'"\$ref":"#/components/([^"]+)"', document.as_bytes().decode()))
    components = DOCUMENT["components"]
    known = {f"{kind}/{name}" for kind, members in components.items() for name in members}
    assert references == {name for name in known if not name.startswith("securitySchemes/")}


def test_each_operation_is_told_in_a_line_of_its_own():
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)
    for _, _, operation in OPERATIONS:
        assert re.fullmatch(r"[A-Z][^\n]{10,79}", operation["summary"])
        assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}


def test_only_what_is_public_needs_no_key():
    public = {path for path, _, operation in OPERATIONS if operation.get("security") == []}
    assert public == {
        *("/v1/credits/pricing", "/v1/limits/tiers", "/v1/providers"),
        *("/v1/receipts/keys", "/v1/openapi.json"),
    }


def test_it_is_for_everybody_and_may_be_cached(gateway):
    response = send(gateway, "GET", "/v1/openapi.json")
    assert response.content == document.as_bytes()
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "public, max-age=3600"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
