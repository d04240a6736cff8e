"""Errors in the form that Anthropic's clients read."""

import orjson

from gateway.errors import GatewayError

TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_object(error: GatewayError) -> dict:
    """Return `type` and `message`, with the other members that OpenAI's clients get in `details`.

    Anthropic's package shows `details.error_code` as the error's `error_code`.
    """
    details = {"error_code": error.code, "error_type": error.error_type, **error.metadata}
    if error.param is not None:
        details["param"] = error.param
    return {"type": type_of(error.status), "message": error.message, "details": details}


def type_of(status: int) -> str:
    return TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def error_body(error: GatewayError, request_id: str | None) -> bytes:
    return orjson.dumps({"type": "error", "error": error_object(error), "request_id": request_id})
