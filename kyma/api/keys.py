"""API keys: what stands behind the page of keys and /v1/keys, for the person and for their keys.

What a key may give another is at most what it has (`gateway/keys/grants.py`).
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
from kyma.api.description import example
from kyma.api.fields import MoneyField, StrictSerializer, TimeField
from kyma.api.pagination import PageQuery, page, page_of
from kyma.api.resource import Resource

MOST_GRACE_HOURS = 7 * 24


class AmountsSerializer(serializers.Serializer):
    """In total and in the current UTC day, week and month; a cap that is null is none."""

    total = MoneyField(allow_null=True)
    day = MoneyField(allow_null=True)
    week = MoneyField(allow_null=True)
    month = MoneyField(allow_null=True)


class KeySerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    label = serializers.SerializerMethodField(help_text="How the key starts and ends.")
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
    key = serializers.CharField(help_text="The key itself: shown now and never again.")


class RotationSerializer(StrictSerializer):
    grace_hours = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=MOST_GRACE_HOURS,
        help_text="For how long the old key still works.",
    )


KeyPage = page_of(KeySerializer)


# --- What a key is made of -----------------------------------------------------------------------

# /v1/keys has one `limit` besides, for OpenRouter's clients; here `caps` say it all.
FIELDS = [name for name in key_fields.CHECKS if not name.startswith("limit")]


class ScopesSerializer(serializers.Serializer):
    scopes = serializers.ListField(
        child=serializers.ChoiceField(ApiKey.Scope), max_length=len(ApiKey.Scope)
    )


_ABOUT = {
    "name": "For people, one line.",
    "caps": "The most that the key may spend, in dollars as a text or number; null lifts a cap.",
    "expires_at": "When it ends by itself; null is never.",
    "allowed_models": "Slugs; null is all.",
    "allowed_networks": "Addresses and networks from which it works; null is anywhere.",
    "requests_per_minute": "Of its own, within the account's; null is none.",
    "retention_days": "How long what its requests said is kept.",
    "disabled": "Refused until it is enabled again.",
    "scopes": "What it may do here. Models at /v1 it may ask without any.",
}


def key_schema(name: str) -> dict[str, Schema]:
    """The body as the checks of /v1/keys take it, and scopes."""
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
    """Raises ValidationError, InvalidRequest."""
    known = {*FIELDS, "scopes"}
    if unknown := set(body) - known:
        message = f"No field of a key. Those are: {', '.join([*FIELDS, 'scopes'])}."
        raise serializers.ValidationError({name[:64]: [message] for name in unknown})
    fields = key_fields.parse({k: v for k, v in body.items() if k != "scopes"}, new=new)
    if "scopes" in body:
        given = ScopesSerializer(data={"scopes": body["scopes"]})
        given.is_valid(raise_exception=True)
        fields.columns["scopes"] = sorted(set(given.validated_data["scopes"]))
    return fields


# --- Views ---------------------------------------------------------------------------------------


class KeyResource(Resource):
    """A key that asks is `request.auth`; who is signed in asks without."""

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
        made = key_management.rotate(request.user.pk, key_id, grace=grace, by=request.auth)
        return self.shown_once(*made)
