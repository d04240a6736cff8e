"""Every refusal in one form: RFC 9457, `application/problem+json`.

`code` is for programs, `detail` for people; `errors` name the wrong fields of the request.
"""

import logging
import math
import sys
import traceback
from collections.abc import Iterator
from http import HTTPStatus

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.defaults import page_not_found, server_error
from rest_framework import exceptions
from rest_framework.exceptions import APIException
from rest_framework.response import Response

from accounts import hashing
from accounts.errors import PasswordsBusy
from chat.errors import ChatError, ChatsFull, Deleted, StillAnswering
from gateway.commits import database_errors
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
LONGEST_WAIT_S = 60  # Requests are counted by the minute.
RETRY_AFTER_S = 5
_AWAY = (
    "Kyma can't reach its database right now, or it takes too long for this. Try again shortly, or "
    "ask for less at once."
)
_FAILED = "Kyma failed. Try again later."
_WHOLE = "non_field_errors"


def handle(error: Exception, context: dict) -> Response:
    """Return the answer to an exception of a view. An error of ours reveals nothing of itself."""
    if isinstance(error, GatewayError):
        return _refusal_of_a_rule(error)
    if isinstance(error, Deleted):
        error = Http404()
    if isinstance(error, ChatError):
        status = 409 if isinstance(error, (StillAnswering, ChatsFull)) else 400
        return problem(status, str(error), error.code)
    if isinstance(error, PasswordsBusy):
        return problem(503, str(error), "busy", headers={"Retry-After": str(hashing.RETRY_AFTER_S)})
    if isinstance(error, Http404):
        error = exceptions.NotFound("The account has no such object.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    if isinstance(error, exceptions.ValidationError):
        errors = list(_errors(error.detail))
        return problem(400, "The request is wrong: see `errors`.", "invalid", errors=errors)
    if isinstance(error, APIException):
        return _refusal_of_the_framework(error)
    _log(error)
    if is_out_of_reach(error):
        return problem(503, _AWAY, "unavailable", headers={"Retry-After": str(RETRY_AFTER_S)})
    return problem(500, _FAILED, "server_error")


def problem(status: int, detail: str, code: str, *, headers=None, **more) -> Response:
    headers = {"Cache-Control": "no-store", **(headers or {})}
    said = {**body(status, detail, code), **more}
    return Response(said, status=status, headers=headers, content_type=CONTENT_TYPE)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404 by a problem below /api/, and by a page elsewhere. Django's handler404."""
    if not is_for_programs(request.path_info):
        return page_not_found(request, exception)
    detail = "There is nothing at this address. /api/docs lists all addresses."
    return JsonResponse(body(404, detail, "not_found"), status=404, content_type=CONTENT_TYPE)


def failed(request: HttpRequest) -> HttpResponse:
    """Answer 503 if the database is out of reach, and 500 otherwise. Django's handler500.

    Nothing here may need the database, so the page of a 503 is the same for everybody.
    """
    is_away = is_out_of_reach(sys.exception())
    status, detail, code = (
        (503, _AWAY, "unavailable") if is_away else (500, _FAILED, "server_error")
    )
    if is_for_programs(request.path_info):
        content = body(status, detail, code)
        response: HttpResponse = JsonResponse(content, status=status, content_type=CONTENT_TYPE)
    elif is_away:
        response = HttpResponse(render_to_string("503.html"), status=503)
    else:
        return server_error(request)
    if is_away:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    response.headers["Cache-Control"] = "no-store"
    return response


def is_out_of_reach(error: BaseException | None) -> bool:
    """True if the database failed as a whole, or if trying again may help."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error, DatabaseError) and database_errors.is_out_of_reach(error)


def is_for_programs(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def body(status: int, detail: str, code: str) -> dict:
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}


def _refusal_of_a_rule(error: GatewayError) -> Response:
    more = dict(error.metadata)
    if error.param:
        more["errors"] = [{"field": error.param, "message": error.message}]
    return problem(error.status, error.message, str(error.code), headers=error.headers, **more)


# Replaces the framework's texts by clearer ones.
_DETAILS = {
    "not_authenticated": "Send a key in the header 'Authorization: Bearer kyma-…', or sign in.",
    "unsupported_media_type": "Send JSON, with the header 'Content-Type: application/json'.",
}


def _refusal_of_the_framework(error: APIException) -> Response:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if isinstance(error, exceptions.Throttled):
        wait_s = math.ceil(error.wait or LONGEST_WAIT_S)
        headers["Retry-After"] = str(wait_s)
        detail = f"Too many requests: ask again in {wait_s} s."
        return problem(429, detail, "rate_limit_exceeded", headers=headers)
    code = str(error.get_codes())
    detail = _DETAILS.get(code, str(error.detail))
    return problem(error.status_code, detail, code, headers=headers)


def _errors(detail, field: str = "") -> Iterator[dict[str, str]]:
    """Yield each message with the path of its field: {"a": {0: ["no"]}} gives one for `a[0]`."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _errors(inner, field if name == _WHOLE else _path(field, name))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _errors(inner, field)
    else:
        yield {"field": field, "message": str(detail)}


def _path(field: str, name: str | int) -> str:
    if isinstance(name, int):
        return f"{field}[{name}]"
    return f"{field}.{name}" if field else name


def _log(error: Exception) -> None:
    """Log an error by its place only: its message could hold text that a person wrote."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("/api/: %s\n%s", type(error).__name__, frames)
