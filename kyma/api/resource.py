"""What all of /api/ has in common: JSON in and out, whatever `Accept` says, and a scope."""

from typing import Any

from rest_framework.exceptions import AuthenticationFailed, NotFound
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from billing.accounts import open_account
from billing.models import CreditAccount
from gateway import json_body
from gateway.errors import BodyTooLarge

MAX_BODY_BYTES = 1_000_000


class JsonParser(BaseParser):
    """One JSON object, read as strictly as at /v1; fractions come as Decimal."""

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None) -> dict:
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"The body has more than {MAX_BODY_BYTES:,} bytes.")
        return json_body.parse_exactly(raw)


class AlwaysJson(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers):
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((one for one in parsers if one.media_type == media_type), None)

    def select_renderer(self, request: Request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type


class Resource(APIView):
    """A view of /api/. `scope` is what a key needs for it."""

    scope: str | None

    def perform_authentication(self, request: Request) -> None:
        """A wrong key counts against the address that it came from."""
        try:
            super().perform_authentication(request)
        except AuthenticationFailed:
            self.check_throttles(request)
            raise

    @property
    def account(self) -> CreditAccount:
        return open_account(self.request.user)

    def query(self, serializer: type[Serializer]) -> dict[str, Any]:
        """What the address asks, checked. Raises ValidationError."""
        given = serializer(data=self.request.query_params.dict())
        given.is_valid(raise_exception=True)
        return given.validated_data

    def body(self, serializer: type[Serializer]) -> dict[str, Any]:
        """What was sent, checked. Raises ValidationError."""
        given = serializer(data=self.request.data)
        given.is_valid(raise_exception=True)
        return given.validated_data


class Public(Resource):
    """Open to everybody: it looks at no key and no session."""

    scope = None
    authentication_classes = ()


class Nowhere(Public):
    """What no other address of /api/ matches."""

    def initial(self, request: Request, *args, **kwargs) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound("There is nothing at this address. /api/docs lists what there is.")
