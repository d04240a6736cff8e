"""The account: its owner, its credit, and its limits per minute."""

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey, User
from billing.models import CreditAccount
from billing.tiers import TIERS
from kyma.api.fields import MoneyField, TimeField
from kyma.api.resource import Resource


class LimitsSerializer(serializers.Serializer):
    """The limits of the tier; null where this account has no limit."""

    requests_per_minute = serializers.IntegerField(source="requests", allow_null=True)
    requests_per_minute_per_model = serializers.IntegerField(
        source="model_requests", allow_null=True
    )
    tokens_per_minute = serializers.IntegerField(source="tokens", allow_null=True)
    tokens_per_request = serializers.IntegerField(allow_null=True)
    concurrent_requests = serializers.IntegerField(source="max_open_holds", allow_null=True)


class AccountSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="user.id")
    email = serializers.EmailField(source="user.email")
    state = serializers.ChoiceField(User.State, source="user.state")
    created_at = TimeField(source="user.created_at")
    balance = MoneyField(source="balance_nano")
    held = MoneyField(source="held_nano", help_text="Set aside for running requests.")
    owed = MoneyField(source="owed_nano")
    available = MoneyField(source="available_nano", help_text="The credit left for new requests.")
    purchased = MoneyField(source="purchased_nano", help_text="Bought so far; decides the tier.")
    tier = serializers.IntegerField()
    limits = serializers.SerializerMethodField()

    @extend_schema_field(LimitsSerializer)
    def get_limits(self, account: CreditAccount) -> dict:
        limits = LimitsSerializer(TIERS[account.tier])
        return dict.fromkeys(limits.fields) if account.unlimited else limits.data


class Account(Resource):
    scope = ApiKey.Scope.ACCOUNT

    @extend_schema("getAccount", summary="The account", responses=AccountSerializer)
    def get(self, request: Request) -> Response:
        return Response(AccountSerializer(self.account).data)
