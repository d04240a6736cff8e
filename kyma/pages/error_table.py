"""The table of errors in the docs, made from the errors themselves, so that it stays right."""

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
    "account's data policy; metadata.excluded_by then gives the reasons.",
    errors.MethodNotAllowed: "This address takes another method; the header Allow names it.",
    errors.BodyTimeout: "The body didn't arrive in time.",
    errors.Conflict: "Another request has used this Idempotency-Key.",
    errors.BodyTooLarge: "The body has too many bytes.",
    errors.RequestTooLarge: "More tokens than the tier allows for one request.",
    errors.UnsupportedMediaType: "The body isn't JSON.",
    errors.Unprocessable: "Each field is valid, but together they contradict each other.",
    errors.TooManyRequests: "A limit was reached, or every provider is busy. Retry-After says when "
    "to ask again.",
    errors.InternalError: "Kyma failed. Nothing is charged.",
    errors.BadUpstream: "No provider gave a usable answer. Nothing is charged.",
    errors.Unavailable: "No provider could take the request, or Kyma can't right now.",
    errors.UpstreamTimeout: "The provider took too long. Nothing is charged.",
}

# An error with one of these in `code` says more than its class.
CODES = {
    "account_closed": (errors.Forbidden, "The account is closed."),
    "account_erasing": (errors.Forbidden, "The account is being deleted."),
    "account_suspended": (errors.Forbidden, "The account is suspended: write to us."),
    "beyond_own_end": (errors.Forbidden, "A key can't make one that lasts longer than itself."),
    "beyond_own_networks": (errors.Forbidden, "A key can't make one that works in more networks."),
    "beyond_own_retention": (
        errors.Forbidden,
        "A key can't make one whose content is kept longer.",
    ),
    "beyond_own_scopes": (errors.Forbidden, "A key can't make one with more scopes."),
    "content_not_retained": (
        errors.Conflict,
        "It was answered before, and the answer wasn't kept. Nothing is charged again.",
    ),
    "content_policy_violation": (errors.Forbidden, "The provider declined the content."),
    "forbidden_per_minute": (
        errors.TooManyRequests,
        "The key made too many requests that it has no right to make.",
    ),
    "https_required": (errors.Forbidden, "Use https, and rotate the key: it was sent in clear."),
    "idempotency_key_in_use": (errors.Conflict, "The first request is still being answered."),
    "idempotency_key_reused": (errors.Unprocessable, "The key was used with another body before."),
    "ip_not_allowed": (errors.Forbidden, "The key doesn't work from this address."),
    "key_has_ended": (errors.InvalidRequest, "A revoked or expired key can't be rotated."),
    "key_has_limits": (
        errors.Forbidden,
        "A key with its own caps, models or rate can't begin chat replies or make keys.",
    ),
    "key_limit_reached": (
        errors.PaymentRequired,
        "A spend cap of the key is too low, not the credit.",
    ),
    "key_not_found": (errors.NotFound, "The account has no such key."),
    "key_requests_per_minute": (
        errors.TooManyRequests,
        "More requests than the key's owner allows.",
    ),
    "management_key": (errors.Forbidden, "A management key can't ask models or be changed here."),
    "management_key_required": (errors.Forbidden, "Only a management key can manage keys."),
    "missing_scope": (errors.Forbidden, "The key lacks the scope that this part of /api/ needs."),
    "model_not_allowed": (errors.Forbidden, "The key may use other models only."),
    "model_requests_per_minute": (
        errors.TooManyRequests,
        "More requests to one model than the tier allows.",
    ),
    "no_route": (
        errors.NotFound,
        "No provider fits; metadata.excluded_by says why, with_consent how many consent would add.",
    ),
    "provider_overloaded": (errors.TooManyRequests, "Every provider of the model is busy."),
    "reads_per_minute": (errors.TooManyRequests, "Too many requests that ask no model."),
    "reauthentication_required": (
        errors.Forbidden,
        "Confirm at /accounts/reauthenticate/ that it is you, before a key gets scopes.",
    ),
    "requests_per_minute": (errors.TooManyRequests, "More requests than the tier allows."),
    "thread_unsupported_request": (
        errors.InvalidRequest,
        "Kyma keeps no conversations: send all messages, without thread.",
    ),
    "tokens_per_minute": (errors.TooManyRequests, "More tokens a minute than the tier allows."),
    "tokens_per_request": (errors.RequestTooLarge, "Too many tokens in one request for the tier."),
    "too_many_concurrent_requests": (errors.TooManyRequests, "Too many at once for the tier."),
    "too_many_keys": (errors.Forbidden, "The account has as many keys as it can."),
    "unavailable": (errors.Unavailable, "Kyma can't reach its database. Nothing is charged."),
    "unknown_url": (errors.NotFound, "There is nothing at this address: check the base URL."),
    "wrong_endpoint": (errors.InvalidRequest, "This model is used through another address."),
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
    """Return one row for each class of error, sorted by status."""
    return sorted((_row(one) for one in _below(GatewayError)), key=lambda row: row.status)


def codes() -> list[tuple[int, str, str]]:
    """Return status, code and meaning of each code, sorted by status."""
    found = ((error.status, code, meaning) for code, (error, meaning) in CODES.items())
    return sorted(found)


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
