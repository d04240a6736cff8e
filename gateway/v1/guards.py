"""The decorators of the views of /v1: they check method and key, and log the request."""

import asyncio
import datetime as dt
import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from django.db import Error as DatabaseError
from django.http.response import HttpResponseBase

from gateway.access import limits
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.commits.record import RequestRecord
from gateway.dialects.anthropic import api as anthropic_api
from gateway.errors import (
    Forbidden,
    GatewayError,
    InternalError,
    MethodNotAllowed,
    Unavailable,
)
from gateway.models import ApiRequest
from gateway.serving import completions, settlement
from gateway.serving.answers import Answer
from gateway.serving.endings import CLIENT_CLOSED_REQUEST
from gateway.serving.exchange import ClientGone, Exchange, GatewayRequest

Outcome = ApiRequest.Outcome


class CompletionResponse:
    """The response that sends an answer, which must be settled even if it can't be sent.

    Django's own response would check and encode each header, of which there are many. The web
    server checks them anyway.
    """

    status_code = 200

    def __init__(self, answer: Answer, headers: dict[str, str]):
        self.answer = answer
        self.parts = answer.parts()
        self.headers = headers

    def items(self) -> Iterable[tuple[str, str]]:
        return self.headers.items()


AnyResponse = HttpResponseBase | CompletionResponse
View = Callable[..., Coroutine[Any, Any, Any]]  # of AnyResponse: Django expects its own


def allow(*methods: str) -> Callable[[View], View]:
    """Refuse other methods with 405, in OpenAI's format."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        async def checked(request: GatewayRequest, *arguments, **named) -> AnyResponse:
            if request.method not in methods:
                allowed = ", ".join(methods)
                raise MethodNotAllowed(
                    f"{request.method} doesn't work here: use {allowed}.",
                    headers={"Allow": allowed},
                )
            return await view(request, *arguments, **named)

        return checked

    return decorate


def with_anthropic_limits(view: View) -> View:
    """Add the rate limits in the headers that Anthropic's clients read."""

    @functools.wraps(view)
    async def answered(request: GatewayRequest, *arguments, **named) -> AnyResponse:
        try:
            response = await view(request, *arguments, **named)
        except GatewayError as error:
            error.headers |= anthropic_api.limit_headers(error.headers, dt.datetime.now(dt.UTC))
            raise
        added = anthropic_api.limit_headers(response.headers, dt.datetime.now(dt.UTC))
        for name, value in added.items():
            response.headers[name] = value
        return response

    return answered


async def _admit_read(
    exchange: Exchange, caller: Caller, rule: Callable[[Caller], None]
) -> Mapping[str, str]:
    """Count a read, and return the headers that show its limit. Raises GatewayError."""
    try:
        completions.admit(caller, exchange.ip)
        rule(caller)
    except Forbidden as refusal:
        await limits.count_refusal(caller, refusal)
        raise
    return await limits.admit_read(caller)


def logged(
    api: str, *, rule: Callable[[Caller], None] = key_rules.refuse_management
) -> Callable[[View], View]:
    """Authenticate a read, and leave its row in the request log, however it ends.

    `rule` refuses the kinds of keys that the view isn't for.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        async def answered(request: GatewayRequest, *arguments, **named) -> AnyResponse:
            exchange = request.exchange
            caller = await exchange.authenticate()
            record = exchange.new_record(caller, api)
            _note(record, Outcome.KYMA_FAILED, InternalError)
            try:
                limit_headers = await _admit_read(exchange, caller, rule)
                response = await view(request, caller, *arguments, **named)
                for name, value in limit_headers.items():
                    response.headers[name] = value
                record.outcome, record.status = Outcome.FINISHED, response.status_code
                record.error_type = ""
                return response
            except (ClientGone, asyncio.CancelledError):
                if exchange.is_client_gone():
                    record.outcome = Outcome.CLIENT_GONE
                    record.status, record.error_type = CLIENT_CLOSED_REQUEST, ""
                raise
            except GatewayError as error:
                _note(record, Outcome.REFUSED, error)
                raise
            except DatabaseError as error:
                _note(record, Outcome.REFUSED, Unavailable)
                raise Unavailable("Kyma can't read that right now. Try again shortly.") from error
            finally:
                record.latency_ms = exchange.elapsed_ms()
                settlement.log(record)

        return answered

    return decorate


def _note(
    record: RequestRecord, outcome: ApiRequest.Outcome, error: GatewayError | type[GatewayError]
) -> None:
    record.outcome, record.status, record.error_type = outcome, error.status, error.error_type
