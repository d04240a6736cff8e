"""The views of /v1. Each reads its request, calls one rule, and answers with JSON or events."""

import uuid

from django.http import HttpResponse

from billing.models import CreditAccount
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.analytics import showcase
from gateway.catalogue import claude_code
from gateway.catalogue.aliases import ALIASES
from gateway.catalogue.entries import catalogue
from gateway.database import read_in_thread
from gateway.dialects.anthropic import api as anthropic_api
from gateway.dialects.apis import Dialect
from gateway.errors import (
    InvalidRequest,
    NotFound,
)
from gateway.log import content
from gateway.models import ApiRequest
from gateway.receipts.generation import generation_object, request_id
from gateway.receipts.keys import published
from gateway.receipts.receipt import signed_receipt
from gateway.routing import resolution
from gateway.serving import completions
from gateway.serving.answers import Replay, WholeAnswer
from gateway.serving.exchange import GatewayRequest
from gateway.v1 import model_query
from gateway.v1.guards import AnyResponse, CompletionResponse, allow, logged
from gateway.v1.model_objects import alias_object, model_object
from gateway.wire.reply import json_response, usd_number

NOT_BUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@allow("POST")
async def answer(request: GatewayRequest, dialect: Dialect) -> AnyResponse:
    """Return a model's answer, in the dialect that the URL is for."""
    answer = await completions.begin(request.exchange, dialect)
    if isinstance(answer, Replay):
        return _replayed(answer)
    headers = {"Content-Type": answer.content_type, **answer.headers, **answer.limit_headers}
    if isinstance(answer, WholeAnswer):
        headers["Content-Length"] = str(len(answer.content))
    else:
        headers |= NOT_BUFFERED
    return CompletionResponse(answer, headers)


def _replayed(replay: Replay) -> HttpResponse:
    kept = replay.kept
    headers = {**kept.headers, **replay.limit_headers, **NOT_BUFFERED}
    headers["idempotent-replayed"] = "true"
    return HttpResponse(kept.body, content_type=kept.content_type, headers=headers)


@allow("POST")
@logged("count_tokens")
async def count_tokens(request: GatewayRequest, caller: Caller) -> HttpResponse:
    """Return roughly how many tokens a Messages request has."""
    _, tokens = await request.exchange.read_json(caller, anthropic_api.count_tokens)
    return json_response({"input_tokens": tokens})


@allow("GET", "HEAD")
@logged("models")
async def models(request: GatewayRequest, caller: Caller) -> HttpResponse:
    """Return the models that this caller can use now."""
    entries = await catalogue()
    usable = [entry.seen_by(caller) for entry in entries.values() if entry.usable_by(caller)]
    data = [model_object(entry) for entry in sorted(usable, key=lambda one: one.slug)]
    for alias in ALIASES:
        if slug := resolution.alias_target(alias, entries, caller):
            data.append(alias_object(alias, entries[slug].seen_by(caller)))
    query = request.exchange.query
    levels = await read_in_thread(showcase.recent_levels) if model_query.needs_levels(query) else {}
    data = model_query.in_order(model_query.chosen(data, query), query, levels)
    if claude_code.is_asked_for(request.exchange.headers):
        data = [claude_code.renamed(one) for one in data]
    return json_response(model_query.page(data, query))


@allow("GET", "HEAD")
@logged("model")
async def model(request: GatewayRequest, caller: Caller, slug: str) -> HttpResponse:
    """Return one of these models, by its id or an alias."""
    entries = await catalogue()
    slug = claude_code.own_name(slug)
    meant = slug if slug in entries else resolution.alias_target(slug, entries, caller)
    entry = entries.get(meant or "")
    if entry is None or not entry.usable_by(caller):
        advice = resolution.advice(entry, caller) if entry else ""
        message = "There is no such model. GET /v1/models lists those that can be used."
        raise NotFound(f"{message} {advice}".rstrip(), code="model_not_found")
    seen = entry.seen_by(caller)
    return json_response(model_object(seen) if meant == slug else alias_object(slug, seen))


@allow("GET", "HEAD")
@logged("balance", rule=key_rules.take_any)
async def balance(request: GatewayRequest, caller: Caller) -> HttpResponse:
    """Return the credit in USD, as exact decimal numbers."""
    account = await read_in_thread(_account, caller)
    return json_response(
        {
            "currency": "USD",
            "balance": usd_number(account.balance_nano),
            "held": usd_number(account.held_nano),
            "owed": usd_number(account.owed_nano),
            "available": usd_number(account.available_nano),
        }
    )


@allow("GET", "HEAD")
@logged("generation")
async def generation(request: GatewayRequest, caller: Caller) -> HttpResponse:
    """Return one request of this account, with its signed receipt."""
    found = await read_in_thread(
        _own_generation, caller, _asked_id(request.exchange.query.get("id", ""))
    )
    if found is None:
        raise NotFound("There is no such generation in this account.")
    return json_response({"data": found})


@allow("GET", "HEAD")
async def receipt_keys(request: GatewayRequest) -> HttpResponse:
    """Return the public keys that verify receipts. No key is needed to ask for them."""
    response = json_response(published())
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _account(caller: Caller) -> CreditAccount:
    return CreditAccount.objects.get(pk=caller.account_id)


def _own_generation(caller: Caller, asked_id: uuid.UUID) -> dict | None:
    rows = ApiRequest.objects.select_related("key", "price_version")
    row = rows.filter(account=uuid.UUID(caller.account_id), pk=asked_id).first()
    if row is None:
        return None
    kept = content.row_of(row.id, row.account_id)
    plain = content.opened(kept, caller.cipher)
    is_shown = plain is not None
    return {
        **generation_object(row),
        "content_kept": is_shown,
        "why_no_content": None if is_shown else content.why_none(row, is_kept=kept is not None),
        "receipt": signed_receipt(row, plain),
    }


def _asked_id(text: str) -> uuid.UUID:
    try:
        return request_id(text)
    except ValueError as error:
        raise InvalidRequest(
            "Give the id of an answer (?id=chatcmpl-..., cmpl-..., emb-..., msg_... or resp_...) "
            "or its x-request-id.",
            param="id",
        ) from error
