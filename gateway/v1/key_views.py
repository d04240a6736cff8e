"""The views of /v1/key, which shows the caller's key, and /v1/keys, for management keys."""

import re
import uuid
from functools import partial

from django.conf import settings
from django.http import HttpResponse

from accounts.models import ApiKey
from gateway.access import rules as key_rules
from gateway.access.authentication import Caller
from gateway.database import in_thread, read_in_thread
from gateway.keys import fields as key_fields
from gateway.keys import management as key_management
from gateway.serving.exchange import GatewayRequest
from gateway.v1.guards import allow, logged
from gateway.v1.key_objects import key_object
from gateway.wire import body as json_body
from gateway.wire.query import number, offset
from gateway.wire.reply import json_response

MAX_PAGE = 100


@allow("GET", "HEAD")
@logged("key", rule=key_rules.take_any)
async def key(request: GatewayRequest, caller: Caller) -> HttpResponse:
    """Show the caller's own key."""
    return json_response({"data": _shown(await _asking(caller), caller)})


@allow("GET", "HEAD", "POST")
@logged("keys", rule=key_rules.require_management)
async def keys(request: GatewayRequest, caller: Caller) -> HttpResponse:
    """List the keys of the caller's user, or make a new one."""
    if request.method == "POST":
        fields = key_fields.parse(await _body(request), new=True)
        make = partial(key_management.make, by=await _asking(caller))
        row, text = await in_thread(make, _owner(caller), fields)
        return json_response({"key": text, "data": _shown(row, caller)}, status=201)
    rows = await read_in_thread(_page, caller, request.exchange.query)
    return json_response({"data": [_shown(row, caller) for row in rows]})


@allow("GET", "HEAD", "PATCH", "DELETE")
@logged("keys", rule=key_rules.require_management)
async def one_key(request: GatewayRequest, caller: Caller, key_hash: str) -> HttpResponse:
    owner, key_id = _owner(caller), _key_id(key_hash)
    if request.method == "DELETE":
        revoke = partial(key_management.revoke, by=await _asking(caller))
        await in_thread(revoke, owner, key_id)
        return json_response({"deleted": True})
    if request.method == "PATCH":
        fields = key_fields.parse(await _body(request), new=False)
        change = partial(key_management.change, by=await _asking(caller))
        row = await in_thread(change, owner, key_id, fields)
    else:
        row = await read_in_thread(key_management.find, owner, key_id)
    return json_response({"data": _shown(row, caller)})


async def _asking(caller: Caller) -> ApiKey:
    """Return the caller's key as it is now in the database."""
    return await read_in_thread(key_management.find, _owner(caller), uuid.UUID(caller.key_id))


def _owner(caller: Caller) -> uuid.UUID:
    return uuid.UUID(caller.user_id)


def _key_id(key_hash: str) -> uuid.UUID | None:
    return uuid.UUID(key_hash) if re.fullmatch("[0-9a-f]{32}", key_hash) else None


async def _body(request: GatewayRequest) -> dict:
    exchange = request.exchange
    raw = await exchange.read_json_body(most_bytes=settings.MAX_SMALL_BODY_BYTES)
    body = json_body.parse_exactly(raw)
    exchange.is_json = True
    return body


def _page(caller: Caller, query) -> list[ApiKey]:
    rows = key_management.of_user(_owner(caller))
    if query.get("include_disabled", "false").lower() not in ("true", "1"):
        rows = rows.filter(disabled_at=None)
    first = offset(query)
    return list(rows[first : first + number(query, "limit", MAX_PAGE, low=1, high=MAX_PAGE)])


def _shown(row: ApiKey, caller: Caller) -> dict:
    return key_object(row, tier=caller.tier, unlimited=caller.unlimited)
