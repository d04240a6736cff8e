"""Answers in JSON, with dollars as exact decimal numbers."""

import orjson
from django.http import HttpResponse

from billing.pricing import usd


def json_response(content: dict, *, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(content), status=status, content_type="application/json")


def usd_number(nano: int) -> orjson.Fragment:
    """Return nano-dollars as a JSON number of dollars, without rounding."""
    return orjson.Fragment(usd(nano))
