"""Short names for the JSON Schemas that Kyma combines."""

from collections.abc import Iterable
from typing import Any

Schema = dict[str, Any]

NOTHING: Schema = {"not": {}}  # matches no value, for fields that are always refused
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}
ID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}


def obj(members: dict[str, Schema], *, optional: tuple[str, ...] = (), **rest: object) -> Schema:
    required = [name for name in members if name not in optional]
    return {"type": "object", "properties": members, "required": required, **rest}


def array(items: Schema, **rest: object) -> Schema:
    return {"type": "array", "items": items, **rest}


def const(value: object) -> Schema:
    return {"const": value}


def choice(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def same(schema: Schema, *names: str) -> dict[str, Schema]:
    return dict.fromkeys(names, schema)


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def any_of(schemas: Iterable[Schema]) -> Schema:
    """Return a schema that matches any of `schemas`, without repetitions."""
    different: list[Schema] = []
    for schema in schemas:
        different += [one for one in schema.get("anyOf", [schema]) if one not in different]
    possible = [schema for schema in different if schema != NOTHING]
    return possible[0] if len(possible) == 1 else {"anyOf": possible}


def or_null(schema: Schema) -> Schema:
    if schema == NOTHING:
        return NULL
    if "type" not in schema:
        return {"anyOf": [*schema.get("anyOf", [schema]), NULL]} if schema else {}
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **choices}


def with_tag(tag: str, name: str, schema: Schema) -> Schema:
    """Return `schema` for an object whose member `tag` is `name`."""
    if "anyOf" in schema:
        return {"anyOf": [with_tag(tag, name, one) for one in schema["anyOf"]]}
    properties = {**schema.get("properties", {}), tag: const(name)}
    required = dict.fromkeys([tag, *schema.get("required", ())])
    return {"type": "object", "properties": properties, "required": list(required)}
