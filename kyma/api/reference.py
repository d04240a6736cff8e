"""Prepares the OpenAPI description for the page /api/docs."""

import dataclasses
import json
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from kyma.api.description import document

Schema = dict[str, Any]
_FORMATS = {"uuid": "UUID", "date-time": "time", "int64": "integer"}


@dataclasses.dataclass(frozen=True, slots=True)
class Type:
    """`thing` is the object that the text names, if the page describes it."""

    text: str
    thing: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: Type
    required: bool
    about: SafeString


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    about: SafeString
    scope: str
    query: list[Field]
    body: list[Field]
    answer: Type | None
    status: str
    refusals: list[tuple[str, SafeString]]
    curl: str


@dataclasses.dataclass(frozen=True, slots=True)
class Thing:
    """An object that answers contain."""

    name: str
    about: SafeString
    fields: list[Field]


def sections(base_url: str) -> list[tuple[str, list[Operation]]]:
    """Return all operations, grouped by the first part of their path."""
    found: dict[str, list[Operation]] = {}
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            shown = _operation(method.upper(), path, operation, base_url)
            found.setdefault(operation["tags"][0], []).append(shown)
    return list(found.items())


def things() -> list[Thing]:
    return [
        Thing(name, _about(schema), _fields(schema))
        for name, schema in sorted(_schemas().items())
        if "properties" in schema and _row_of(schema) is None and not name.endswith("Request")
    ]


def _operation(method: str, path: str, operation: Schema, base_url: str) -> Operation:
    responses = operation["responses"]
    success = next(status for status in responses if status.startswith("2"))
    content = responses[success].get("content")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return Operation(
        id=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        about=_marked_up(operation["description"].rpartition("\n\n")[0]),
        scope=operation.get("x-scope", ""),
        query=[_parameter(one) for one in operation.get("parameters", ()) if one["in"] == "query"],
        body=_fields(_resolved(body.get("schema", {}))),
        answer=_type(content["application/json"]["schema"]) if content else None,
        status=success,
        refusals=[(one, _about(responses[one])) for one in responses if one >= "4"],
        curl=_curl(method, base_url + path, operation, body),
    )


def _curl(method: str, url: str, operation: Schema, body: Schema) -> str:
    required = [one["name"] for one in operation.get("parameters", ()) if one.get("required")]
    query = [f"{one}=…" for one in required if f"{{{one}}}" not in url]
    lines = [f"curl '{url}{'?' + '&'.join(query) if query else ''}'"]
    if method != "GET":
        lines[0] = lines[0].replace("curl ", f"curl -X {method} ")
    if "x-scope" in operation:
        lines.append('  -H "Authorization: Bearer $KYMA_API_KEY"')
    for example in body.get("examples", {}).values():
        lines.append("  -H 'Content-Type: application/json'")
        lines.append(f"  -d '{json.dumps(example['value'])}'")
    return " \\\n".join(lines)


# --- Schemas -------------------------------------------------------------------------------------


def _schemas() -> dict[str, Schema]:
    return document()["components"]["schemas"]


def _resolved(schema: Schema) -> Schema:
    return _schemas()[_name_in(schema)] if "$ref" in schema else schema


def _name_in(schema: Schema) -> str:
    return schema["$ref"].rpartition("/")[2]


def _fields(schema: Schema) -> list[Field]:
    required = schema.get("required", ())
    return [
        Field(name, _type(one), name in required, _about(one))
        for name, one in schema.get("properties", {}).items()
    ]


def _parameter(one: Schema) -> Field:
    return Field(one["name"], _type(one["schema"]), one.get("required", False), _about(one))


def _about(described: Schema) -> SafeString:
    return _marked_up(described.get("description", ""))


def _marked_up(text: str) -> SafeString:
    """Return `text` as HTML, with the parts between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    marked = [f"<code>{part}</code>" if odd % 2 else part for odd, part in enumerate(parts)]
    return mark_safe("".join(marked))  # noqa: S308 - each part is escaped


def _row_of(schema: Schema) -> str | None:
    """Return the name of the rows of a page or list, or None for any other object."""
    data = schema.get("properties", {}).get("data", {})
    return _name_in(data["items"]) if data.get("type") == "array" else None


def _type(schema: Schema) -> Type:
    if "$ref" in schema:
        return _named(_name_in(schema))
    for combination in ("allOf", "oneOf", "anyOf"):
        if combination in schema:
            options = [_type(one) for one in schema[combination]]
            thing = next((one.thing for one in options if one.thing), "")
            return Type(" or ".join(dict.fromkeys(one.text for one in options)), thing)
    if "enum" in schema:
        return Type("one of " + ", ".join(str(one) for one in schema["enum"]))
    if schema.get("type") == "object" and "properties" in schema:
        return Type("object of " + ", ".join(schema["properties"]))
    return _plain(schema)


def _named(name: str) -> Type:
    schema = _schemas()[name]
    if "properties" not in schema:
        return _type(schema)
    if row := _row_of(schema):
        kind = "page" if "next_cursor" in schema["properties"] else "list"
        return Type(f"{kind} of {row}", row)
    if name.endswith("Request"):
        return Type("object of " + ", ".join(schema["properties"]))
    return Type(name, name)


def _plain(schema: Schema) -> Type:
    kinds = schema.get("type", "any JSON")
    names = []
    thing = ""
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "array":
            item = _type(schema["items"])
            names.append(f"list of {item.text}")
            thing = item.thing
        elif kind == "null":
            names.append("null")
        else:
            names.append(_FORMATS.get(schema.get("format", ""), kind))
    return Type(" or ".join(names), thing)
