"""Accepts and returns only JSON. `Accept` is ignored, because there is no other form."""

from django.conf import settings
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from gateway.errors import BodyTooLarge
from gateway.wire import body as json_body


class JsonParser(BaseParser):
    """Reads one JSON object as strictly as /v1 does, with fractions as Decimal."""

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None) -> dict:
        most = settings.MAX_BODY_BYTES
        raw = stream.read(most + 1)
        if len(raw) > most:
            raise BodyTooLarge(f"The body has more than {most:,} bytes.")
        return json_body.parse_exactly(raw)


class AlwaysJson(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers):
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((one for one in parsers if one.media_type == media_type), None)

    def select_renderer(self, request: Request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type
