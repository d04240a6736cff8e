"""The OpenAPI 3.1 description of /api/, made from the views and the checks of their bodies."""

import functools
from http import HTTPStatus

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample

from accounts.models import ApiKey
from kyma.api.problems import CONTENT_TYPE

_TEXT = {"type": "string"}
PROBLEM = {
    "type": "object",
    "description": "Any refusal, in the form of RFC 9457.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {**_TEXT, "description": "For people."},
        "code": {**_TEXT, "description": "For programs."},
        "missing_scope": {"enum": ApiKey.Scope.values},
        "errors": {
            "type": "array",
            "description": "The wrong fields of the request, each with its error.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": _TEXT, "message": _TEXT},
            },
        },
    },
}
PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_RETRY_AFTER = {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}
_CHALLENGE = {"required": True, "schema": _TEXT}


@functools.cache
def document() -> dict:
    return SchemaGenerator().get_schema(request=None, public=True)


def example(body: dict) -> OpenApiExample:
    """Return a working body as an example."""
    return OpenApiExample("example", body, request_only=True)


class Description(AutoSchema):
    """Adds to each operation the scope that a key needs for it, in `x-scope`."""

    def get_description(self) -> str:
        action = getattr(self.view, self.method.lower())
        scope = self.view.scope
        needs = f"A key needs the scope `{scope}`." if scope else "Public: no key is needed."
        return f"{action.__doc__ or ''}\n\n{needs}".strip()

    def get_extensions(self) -> dict:
        return {"x-scope": str(self.view.scope)} if self.view.scope else {}


def add_problems(result: dict, generator, request, public) -> dict:
    """Add to every operation the refusals that it can answer with. A hook of drf-spectacular."""
    result["components"]["schemas"]["Problem"] = PROBLEM
    for path, operations in result["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            for status in _refusals(path, operation):
                responses.setdefault(str(status), _response(status))
            for status, response in responses.items():
                said = _WHEN.get(int(status)) or HTTPStatus(int(status)).phrase
                response["description"] = response["description"] or said
            operation["responses"] = dict(sorted(responses.items()))
    return result


def _refusals(path: str, operation: dict) -> list[int]:
    takes_query = any(one["in"] == "query" for one in operation.get("parameters", ()))
    takes_body = "requestBody" in operation
    return [
        *([400] if takes_query or takes_body else []),
        *([401, 403] if "x-scope" in operation else []),
        *([404] if "{" in path else []),
        *([413, 415] if takes_body else []),
        429,
        500,
    ]


def _response(status: int) -> dict:
    headers = {401: {"WWW-Authenticate": _CHALLENGE}, 429: {"Retry-After": _RETRY_AFTER}}
    return {
        "description": _WHEN[status],
        "content": {CONTENT_TYPE: {"schema": PROBLEM_REF}},
        **({"headers": headers[status]} if status in headers else {}),
    }


_WHEN = {
    400: "The request is wrong: `errors` says where.",
    401: "There is no key and no session, or the key isn't valid.",
    403: "The key lacks the scope or may not be used from here, or the account is suspended.",
    404: "The account has no such object.",
    409: "A reply is being written: wait for it, or stop it. Or the chats are full: delete some.",
    413: "The body is too large.",
    415: "The body isn't JSON.",
    429: "Too many requests: ask again after `Retry-After`.",
    500: "Kyma failed: try again later.",
}
