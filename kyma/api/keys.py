"""API keys for programs, by the same rules as the page of keys and /v1/keys.

A key can give another key at most its own rights (`gateway/keys/grants.py`).
"""

import datetime as dt

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from billing.key_caps import sheet_of
from gateway.keys import fields as key_fields
from gateway.keys import management as key_management
from gateway.keys.fields import KeyFields
from gateway.v1.openapi.requests import SCHEMAS
from gateway.wire.schema import Schema
from kyma.api import confirmation
from kyma.api.description import example
from kyma.api.fields import MoneyField, StrictSerializer, TimeField
from kyma.api.pagination import PageQuery, page, page_of
from kyma.api.resource import Resource

MOST_GRACE_HOURS = 7 * 24


class AmountsSerializer(serializers.Serializer):
    """In total and in the current UTC day, week and month; a null cap means no cap."""

    total = MoneyField(allow_null=True)
    day = MoneyField(allow_null=True)
    week = MoneyField(allow_null=True)
    month = MoneyField(allow_null=True)


class KeySerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    label = serializers.SerializerMethodField(help_text="The beginning and the end of the key.")
    scopes = serializers.ListField(child=serializers.ChoiceField(ApiKey.Scope))
    created_at = TimeField()
    expires_at = TimeField(allow_null=True)
    last_used_at = TimeField(allow_null=True)
    disabled = serializers.SerializerMethodField()
    is_management = serializers.BooleanField(help_text="Works at /v1/keys alone.")
    allowed_models = serializers.ListField(child=serializers.CharField(), help_text="Empty: all.")
    allowed_networks = serializers.ListField(
        child=serializers.CharField(), help_text="Empty: anywhere."
    )
    requests_per_minute = serializers.IntegerField(allow_null=True)
    retention_days = serializers.IntegerField()
    spent = serializers.SerializerMethodField()
    caps = serializers.SerializerMethodField()

    def get_label(self, key: ApiKey) -> str:
        return f"{key.start}…{key.end}"

    def get_disabled(self, key: ApiKey) -> bool:
        return key.disabled_at is not None

    @extend_schema_field(AmountsSerializer)
    def get_spent(self, key: ApiKey) -> dict:
        return AmountsSerializer(sheet_of(key).spent).data

    @extend_schema_field(AmountsSerializer)
    def get_caps(self, key: ApiKey) -> dict:
        return AmountsSerializer(sheet_of(key).caps).data


class NewKeySerializer(KeySerializer):
    key = serializers.CharField(help_text="The key itself, shown only this once.")


class RotationSerializer(StrictSerializer):
    grace_hours = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=MOST_GRACE_HOURS,
        help_text="The hours for which the old key still works.",
    )


KeyPage = page_of(KeySerializer)


# --- What a key is made of -----------------------------------------------------------------------

# /v1/keys also has `limit`, for OpenRouter's clients. Here `caps` covers all of it.
FIELDS = [name for name in key_fields.CHECKS if not name.startswith("limit")]


class ScopesSerializer(serializers.Serializer):
    scopes = serializers.ListField(
        child=serializers.ChoiceField(ApiKey.Scope), max_length=len(ApiKey.Scope)
    )


_ABOUT = {
    "name": "A name for people, one line.",
    "caps": "The most that the key may spend, in dollars as a text or number; null lifts a cap.",
    "expires_at": "The time at which the key ends; null means never.",
    "allowed_models": "Slugs of models; null means all.",
    "allowed_networks": "Addresses and networks from which the key works; null means anywhere.",
    "requests_per_minute": "The key's own limit, within the account's; null means none.",
    "retention_days": "How long the content of its requests is kept.",
    "disabled": "If true, the key is refused until it is enabled again.",
    "scopes": "What the key may do at /api/. Asking models at /v1 needs no scope.",
}


def key_schema(name: str) -> dict[str, Schema]:
    """Return the schema of a body: the fields that /v1/keys checks, and scopes."""
    schema = SCHEMAS[name]
    members = {one: schema["properties"][one] for one in FIELDS}
    members["scopes"] = {
        "type": "array",
        "items": {"enum": ApiKey.Scope.values},
        "maxItems": len(ApiKey.Scope),
    }
    members = {one: {**member, "description": _ABOUT[one]} for one, member in members.items()}
    return {"application/json": {**schema, "properties": members}}


def fields_of(body: dict, *, new: bool) -> KeyFields:
    """Return the checked fields of a body. Raises ValidationError, InvalidRequest."""
    known = {*FIELDS, "scopes"}
    if unknown := set(body) - known:
        message = f"A key has no such field. Its fields: {', '.join([*FIELDS, 'scopes'])}."
        raise serializers.ValidationError({name[:64]: [message] for name in unknown})
    fields = key_fields.parse({k: v for k, v in body.items() if k != "scopes"}, new=new)
    if "scopes" in body:
        given = ScopesSerializer(data={"scopes": body["scopes"]})
        given.is_valid(raise_exception=True)
        fields.columns["scopes"] = sorted(set(given.validated_data["scopes"]))
    return fields


# --- Views ---------------------------------------------------------------------------------------


class KeyResource(Resource):
    """`request.auth` is the key of the caller, and None for a signed-in person."""

    scope = ApiKey.Scope.KEYS

    def shown(self, key: ApiKey) -> dict:
        rows = key_management.with_last_use(key_management.of_user(self.request.user.pk))
        return KeySerializer(rows.get(pk=key.pk)).data

    def shown_once(self, key: ApiKey, text: str) -> Response:
        return Response({**self.shown(key), "key": text}, status=201)


class Keys(KeyResource):
    @extend_schema(
        "listKeys", summary="Keys that aren't revoked", parameters=[PageQuery], responses=KeyPage
    )
    def get(self, request: Request) -> Response:
        keys = key_management.with_last_use(key_management.of_user(request.user.pk))
        return Response(KeyPage(page(keys, **self.query(PageQuery))).data)

    @extend_schema(
        "createKey",
        summary="Make a key",
        request=key_schema("KeyRequest"),
        examples=[example({"name": "CI", "scopes": ["usage:read"], "caps": {"day": "0.50"}})],
        responses={201: NewKeySerializer},
    )
    def post(self, request: Request) -> Response:
        fields = fields_of(request.data, new=True)
        if fields.columns.get("scopes"):
            confirmation.require(request)
        made = key_management.make(request.user.pk, fields, by=request.auth)
        return self.shown_once(*made)


class OneKey(KeyResource):
    @extend_schema("getKey", summary="One key", responses=KeySerializer)
    def get(self, request: Request, key_id) -> Response:
        return Response(self.shown(key_management.find(request.user.pk, key_id)))

    @extend_schema(
        "updateKey",
        summary="Change a key",
        request=key_schema("KeyChanges"),
        examples=[example({"requests_per_minute": 20, "disabled": False})],
        responses=KeySerializer,
    )
    def patch(self, request: Request, key_id) -> Response:
        fields = fields_of(request.data, new=False)
        key = key_management.find(request.user.pk, key_id)
        if {*fields.columns.get("scopes", ())} - {*key.scopes}:
            confirmation.require(request)
        key = key_management.change(request.user.pk, key_id, fields, by=request.auth)
        return Response(self.shown(key))

    @extend_schema("revokeKey", summary="Revoke a key, for good", responses={204: None})
    def delete(self, request: Request, key_id) -> Response:
        key_management.revoke(request.user.pk, key_id, by=request.auth)
        return Response(status=204)


class KeyRotation(KeyResource):
    @extend_schema(
        "rotateKey",
        summary="Replace a key by a new one with the same rules",
        request=RotationSerializer,
        examples=[example({"grace_hours": 24})],
        responses={201: NewKeySerializer},
    )
    def post(self, request: Request, key_id) -> Response:
        grace = dt.timedelta(hours=self.body(RotationSerializer)["grace_hours"])
        if key_management.find(request.user.pk, key_id).scopes:
            confirmation.require(request)
        made = key_management.rotate(request.user.pk, key_id, grace=grace, by=request.auth)
        return self.shown_once(*made)
