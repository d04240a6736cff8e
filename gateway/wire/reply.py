"""Answers in JSON, whose dollars are exact decimal numbers."""

import orjson
from django.http import HttpResponse

from billing.pricing import usd


def json_response(content: dict, *, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(content), status=status, content_type="application/json")


def usd_number(nano: int) -> orjson.Fragment:
    """Nano-dollars as the JSON number of dollars that they are."""
    return orjson.Fragment(usd(nano))
