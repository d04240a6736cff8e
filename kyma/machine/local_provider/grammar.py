"""The conversion of OpenAI's `response_format` to a GBNF grammar, which llama.cpp can enforce.

A schema is enforced in full or refused. The wheel's converter ignores some keywords and doesn't
know ``$ref``, so a schema is first reduced to the subset that the converter knows: references are
written out, and keywords outside the subset are refused.
"""

import json

from llama_cpp_py_sync.constraints import response_format_to_grammar

from kyma.machine.local_provider.errors import InvalidRequest

MAX_SCHEMA_CHARACTERS = 20_000
MAX_SCHEMA_NODES = 1_000
# The parser of the grammar unrolls repetition, so a large bound would use up the memory.
MAX_REPETITION = 1_000

BOUNDS = {"minItems", "maxItems", "minLength", "maxLength"}
CHILDREN = {"properties", "items", "prefixItems", "anyOf", "oneOf"}
VALUES = {"type", "required", "additionalProperties", "enum", "const", *BOUNDS}
REMARKS = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs"} | {
    "definitions",
    "deprecated",
    "readOnly",
    "writeOnly",
}

# The converter's own rules allow no negative whole numbers. They also allow endless digits, which a
# small model would then write.
NUMBER_RULES = {
    "number ::= ": 'integral ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?',
    "integral ::= ": '"-"? ("0" | [1-9] [0-9]{0,15})',
}


def to_gbnf(response_format: object) -> str | None:
    """Return the grammar, or None for plain text. Raises InvalidRequest if it can't be enforced."""
    if response_format is None:
        return None
    if not isinstance(response_format, dict):
        raise _refusal("it must be an object")
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return _convert({"type": "json_object"})
    if kind != "json_schema":
        raise _refusal("its type must be text, json_object or json_schema")
    wrapper = response_format.get("json_schema")
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    if not isinstance(schema, dict):
        raise _refusal("json_schema.schema must be an object")
    try:
        return _schema_to_gbnf(schema)
    except RecursionError:
        raise _refusal("the schema is nested too deeply") from None


def _schema_to_gbnf(schema: dict) -> str:
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARACTERS:
        raise _refusal(f"the schema has more than {MAX_SCHEMA_CHARACTERS} characters")
    plain = _PlainSchema(schema).node(schema)
    return _convert({"type": "json_schema", "json_schema": {"schema": plain}})


def _convert(response_format: dict) -> str:
    try:
        grammar = response_format_to_grammar(response_format)
    except (ValueError, TypeError) as error:
        raise _refusal(str(error)) from None
    return "\n".join(_with_better_numbers(line) for line in str(grammar).splitlines())


def _with_better_numbers(rule: str) -> str:
    for head, expression in NUMBER_RULES.items():
        if rule.startswith(head):
            return head + expression
    return rule


def _refusal(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"This response_format cannot be enforced by this model: {why}.",
        param="response_format",
        code="unsupported_value",
    )


class _PlainSchema:
    """A rewriter of one schema. It counts the parts, so that references can't make it explode."""

    def __init__(self, root: dict):
        self._root = root
        self._written = 0

    def node(self, schema: object, *, inside: tuple[str, ...] = ()) -> dict:
        self._written += 1
        if self._written > MAX_SCHEMA_NODES:
            raise _refusal(f"the schema has more than {MAX_SCHEMA_NODES} parts")
        if not isinstance(schema, dict):
            raise _refusal("each part of a schema must be an object")
        if "$ref" in schema:
            return self._reference(schema, inside)
        _check_keywords(schema)
        plain = {key: value for key, value in schema.items() if key in VALUES}
        if plain.get("additionalProperties") and schema.get("properties"):
            # Additional properties are optional: an object without any satisfies the schema.
            plain["additionalProperties"] = False
        if {"minItems", "maxItems"} & set(schema) and not {"items", "prefixItems"} & set(schema):
            # Without items the converter would ignore the bounds.
            plain["items"] = {}
        for key in CHILDREN & set(schema):
            plain[key] = self._children(key, schema[key], inside)
        return plain

    def _children(self, key: str, value: object, inside: tuple[str, ...]):
        if key == "properties" and isinstance(value, dict):
            return {name: self.node(child, inside=inside) for name, child in value.items()}
        if key == "items":
            return value if isinstance(value, bool) else self.node(value, inside=inside)
        if isinstance(value, list):
            return [self.node(child, inside=inside) for child in value]
        raise _refusal(f"{key} has the wrong type")

    def _reference(self, schema: dict, inside: tuple[str, ...]) -> dict:
        reference = schema["$ref"]
        if reference in inside:
            raise _refusal("it refers to itself")
        if set(schema) - REMARKS - {"$ref"}:
            raise _refusal("$ref has other keywords beside it")
        head, _, name = str(reference).rpartition("/")
        definitions = self._root.get(head.removeprefix("#/"))
        if head not in ("#/$defs", "#/definitions") or not isinstance(definitions, dict):
            raise _refusal(f"$ref {reference!r} leads nowhere")
        if name not in definitions:
            raise _refusal(f"$ref {reference!r} leads nowhere")
        return self.node(definitions[name], inside=(*inside, reference))


def _check_keywords(schema: dict) -> None:
    unknown = set(schema) - CHILDREN - VALUES - REMARKS
    if unknown:
        raise _refusal(f"it uses unsupported keywords: {', '.join(sorted(unknown))}")
    for key in BOUNDS & set(schema):
        if isinstance(schema[key], int) and schema[key] > MAX_REPETITION:
            raise _refusal(f"{key} is above {MAX_REPETITION}")
    # The converter obeys the first of these keywords that it finds and ignores the others.
    structure = (CHILDREN | VALUES) & set(schema) - {"type"}
    for key in {"const", "enum", "anyOf", "oneOf"} & structure:
        if structure != {key} or ("type" in schema and key in CHILDREN):
            raise _refusal(f"{key} has other keywords beside it")
    if schema.get("required") and not schema.get("properties"):
        raise _refusal("it has required but no properties")
