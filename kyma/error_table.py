"""The table of errors in the docs, made from the errors themselves, so that it can't drift."""

import dataclasses
from collections.abc import Iterator

from gateway import errors
from gateway.errors import GatewayError

WHEN = {
    errors.InvalidRequest: "The request must change; param names the field.",
    errors.ModelNotFound: "There is no such model. GET /v1/models lists those that can be used.",
    errors.ContextTooLong: "Prompt and output limit don't fit the model's context.",
    errors.Unauthenticated: "There is no such key, or it was disabled, revoked or has expired.",
    errors.PaymentRequired: "The credit, or a spend cap of the key, doesn't cover what the request "
    "can cost. metadata has required, available and affordable_max_tokens.",
    errors.Forbidden: "The account or the key may not do this.",
    errors.NotFound: "No such address or object, or no provider fits the request's wishes and the "
    "account's data policy; then metadata.excluded_by says why.",
    errors.MethodNotAllowed: "This address takes another method; the header Allow names it.",
    errors.BodyTimeout: "The body didn't arrive in time.",
    errors.Conflict: "Another request with the same Idempotency-Key stands in the way.",
    errors.BodyTooLarge: "The body has too many bytes.",
    errors.RequestTooLarge: "More tokens than the tier allows for one request.",
    errors.UnsupportedMediaType: "The body isn't JSON.",
    errors.Unprocessable: "Each field is fine, together they aren't.",
    errors.TooManyRequests: "A limit was reached, or every provider is busy. Retry-After says when "
    "to ask again.",
    errors.InternalError: "Kyma failed. Nothing is charged.",
    errors.BadUpstream: "No provider gave a usable answer. Nothing is charged.",
    errors.Unavailable: "No provider could take the request, or Kyma can't right now.",
    errors.UpstreamTimeout: "The provider took too long. Nothing is charged.",
}


@dataclasses.dataclass(frozen=True)
class Row:
    status: int
    type: str
    error_type: str
    code: str
    when: str
    is_worth_repeating: bool


def rows() -> list[Row]:
    """One row for each class of error, by status."""
    return sorted((_row(one) for one in _below(GatewayError)), key=lambda row: row.status)


def _below(parent: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _below(child)


def _row(error: type[GatewayError]) -> Row:
    example = error("")
    return Row(
        status=example.status,
        type=example.type,
        error_type=example.error_type,
        code=example.code,
        when=WHEN[error],
        is_worth_repeating=example.is_worth_repeating,
    )
