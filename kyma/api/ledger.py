"""The ledger: every movement of the account's credit."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from billing.models import LedgerEntry
from kyma.api.fields import MoneyField, TimeField
from kyma.api.pagination import PageQuery, page, page_of
from kyma.api.resource import Resource


class EntrySerializer(serializers.Serializer):
    id = serializers.UUIDField()
    created_at = TimeField()
    kind = serializers.ChoiceField(LedgerEntry.Kind)
    amount = MoneyField(source="amount_nano", help_text="Negative for spending.")
    request_id = serializers.UUIDField(
        allow_null=True, help_text="The request that this entry paid for."
    )


class LedgerQuery(PageQuery):
    kind = serializers.ChoiceField(LedgerEntry.Kind, required=False)


EntryPage = page_of(EntrySerializer)


class Ledger(Resource):
    scope = ApiKey.Scope.ACCOUNT

    @extend_schema(
        "listLedgerEntries", summary="Ledger entries", parameters=[LedgerQuery], responses=EntryPage
    )
    def get(self, request: Request) -> Response:
        query = self.query(LedgerQuery)
        entries = LedgerEntry.objects.filter(account=self.account)
        if kind := query.pop("kind", None):
            entries = entries.filter(kind=kind)
        return Response(EntryPage(page(entries, **query)).data)
