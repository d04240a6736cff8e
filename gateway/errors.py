"""The gateway's errors, as HTTP answers in the form that OpenAI's clients read.

GatewayError
├── InvalidRequest 400       the caller must change the request; `param` names the field
│   ├── ModelNotFound        no such model
│   └── ContextTooLong
├── Unauthenticated 401
├── PaymentRequired 402      credit needed, credit left, and how many tokens would fit
├── Forbidden 403
├── NotFound 404
├── MethodNotAllowed 405
├── BodyTimeout 408
├── HeadTimeout 408
├── Conflict 409             another request is in the way; repeating this one doesn't help
├── BodyTooLarge 413
├── UrlTooLong 414
├── RequestTooLarge 413      more tokens than the account may use for one request
├── UnsupportedMediaType 415
├── Unprocessable 422        each field is valid, but not together with the others
├── TooManyRequests 429
├── HeadersTooLarge 431
├── InternalError 500
├── BadUpstream 502
├── Unavailable 503
└── UpstreamTimeout 504
"""

from typing import Self

import orjson

MAX_RETRY_AFTER_S = 60  # Clients give up at once if a server asks for more.


class GatewayError(Exception):
    """An HTTP error. The class sets status, `type` and `error_type`, an instance the rest."""

    status = 500
    type = "api_error"
    error_type = "server"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        metadata: dict | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code or self.error_type
        self.metadata = metadata or {}
        self.headers = headers or {}

    @property
    def is_worth_repeating(self) -> bool:
        """True when the same request may succeed a little later."""
        return self.status in (408, 429) or self.status >= 500

    def after(self, attempts: int) -> Self:
        """Return this error with a header that says how many providers Kyma has tried."""
        self.headers["x-kyma-attempts"] = str(attempts)
        return self

    def as_dict(self) -> dict:
        """Return the `error` object of the body, for OpenAI's and OpenRouter's clients alike."""
        return {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
            "metadata": {"error_type": self.error_type, **self.metadata},
        }

    def body(self, request_id: str | None) -> bytes:
        return orjson.dumps({"error": self.as_dict(), "request_id": request_id})


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"
    error_type = "invalid_request"


class ModelNotFound(InvalidRequest):
    code = "model_not_found"


class ContextTooLong(InvalidRequest):
    error_type = "context_length_exceeded"


class Unauthenticated(GatewayError):
    status = 401
    type = "authentication_error"
    error_type = "authentication"
    code = "invalid_api_key"

    def __init__(self, message: str, **details):
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"}, **details)


class PaymentRequired(GatewayError):
    status = 402
    type = "billing_error"
    error_type = "payment_required"
    code = "insufficient_credits"


class Forbidden(GatewayError):
    status = 403
    type = "permission_error"
    error_type = "permission_denied"


class NotFound(GatewayError):
    status = 404
    type = "not_found_error"
    error_type = "not_found"


class MethodNotAllowed(GatewayError):
    status = 405
    type = "invalid_request_error"
    error_type = "invalid_request"
    code = "method_not_allowed"


class BodyTimeout(GatewayError):
    status = 408
    type = "invalid_request_error"
    error_type = "timeout"

    def __init__(self, message: str):
        # Otherwise a body that trickles in could keep the connection open for as long as it likes.
        super().__init__(message, headers={"Connection": "close"})


class HeadTimeout(GatewayError):
    status = 408
    type = "invalid_request_error"
    error_type = "timeout"


class Conflict(GatewayError):
    status = 409
    type = "invalid_request_error"
    error_type = "conflict"

    def __init__(self, message: str, *, headers: dict[str, str] | None = None, **details):
        headers = {**(headers or {}), "x-should-retry": "false"}
        super().__init__(message, headers=headers, **details)


class BodyTooLarge(GatewayError):
    status = 413
    type = "invalid_request_error"
    error_type = "payload_too_large"


class RequestTooLarge(GatewayError):
    status = 413
    type = "invalid_request_error"
    error_type = "payload_too_large"


class UrlTooLong(GatewayError):
    status = 414
    type = "invalid_request_error"
    error_type = "invalid_request"
    code = "url_too_long"


class UnsupportedMediaType(GatewayError):
    status = 415
    type = "invalid_request_error"
    error_type = "invalid_request"
    code = "unsupported_media_type"


class Unprocessable(GatewayError):
    status = 422
    type = "invalid_request_error"
    error_type = "unprocessable"


class TooManyRequests(GatewayError):
    status = 429
    type = "rate_limit_error"
    error_type = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: int = 1, headers=None, **details):
        headers = {**(headers or {}), **_retry_after(retry_after_s)}
        super().__init__(message, headers=headers, **details)


class HeadersTooLarge(GatewayError):
    status = 431
    type = "invalid_request_error"
    error_type = "invalid_request"
    code = "headers_too_large"


class InternalError(GatewayError):
    pass


class BadUpstream(GatewayError):
    status = 502
    error_type = "provider_unavailable"


class Unavailable(GatewayError):
    status = 503
    error_type = "provider_overloaded"

    def __init__(self, message: str, *, retry_after_s: int = 2, **details):
        super().__init__(message, headers=_retry_after(retry_after_s), **details)


class UpstreamTimeout(GatewayError):
    status = 504
    error_type = "timeout"


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(min(seconds, MAX_RETRY_AFTER_S))}


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of an error that is dealt with, and of the errors that led to it.

    A frame that refers to its own error is a cycle. It would keep the whole request, body included,
    until the garbage collector runs, which is rare.
    """
    known: set[int] = set()
    led_to = [error]
    while led_to:
        one = led_to.pop()
        if id(one) not in known:
            known.add(id(one))
            one.__traceback__ = None
            led_to += filter(None, (one.__cause__, one.__context__))
