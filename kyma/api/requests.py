"""The log of requests: counts, timing and money of each, and its content while that is kept."""

import uuid

import orjson
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.keyring import data_keys
from accounts.models import ApiKey
from billing.pricing import cost_lines
from gateway.log import content
from gateway.models import ApiRequest
from gateway.receipts.generation import usage_of
from kyma.api.fields import MoneyField, TimeField
from kyma.api.pagination import PageQuery, page, page_of
from kyma.api.resource import Resource


class RequestSummarySerializer(serializers.Serializer):
    id = serializers.UUIDField()
    created_at = TimeField()
    api = serializers.CharField(allow_blank=True, help_text="The API of /v1 that was used.")
    key_id = serializers.UUIDField(allow_null=True, help_text="Null for requests of the chat.")
    model = serializers.CharField(allow_blank=True)
    alias = serializers.CharField(
        allow_blank=True, help_text="The alias by which the model was requested."
    )
    provider = serializers.CharField(allow_blank=True)
    streamed = serializers.BooleanField()
    outcome = serializers.ChoiceField(ApiRequest.Outcome)
    status = serializers.IntegerField(help_text="The HTTP status that the caller saw.")
    error_type = serializers.CharField(allow_blank=True)
    finish_reason = serializers.CharField(allow_blank=True)
    session_hash = serializers.CharField(
        allow_blank=True, help_text="The same for all requests with one `session_id`."
    )
    user_hash = serializers.CharField(
        allow_blank=True, help_text="The same for all requests with one `user`."
    )
    prompt_tokens = serializers.IntegerField(help_text="Includes cached tokens.")
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField(help_text="Reasoning included.")
    reasoning_tokens = serializers.IntegerField()
    images = serializers.IntegerField()
    estimated = serializers.BooleanField(help_text="Counted by Kyma, not by the provider.")
    cost = MoneyField(source="cost_nano")
    held = MoneyField(source="hold_nano", help_text="The most that the request could have cost.")
    overhead_ms = serializers.FloatField(allow_null=True)
    first_token_ms = serializers.FloatField(allow_null=True)
    latency_ms = serializers.FloatField(allow_null=True)


class CostSerializer(serializers.Serializer):
    """The cost by class. The sum exceeds the cost of the request if its hold capped that."""

    price_version = serializers.UUIDField()
    input = MoneyField()
    cached_input = MoneyField()
    output = MoneyField()
    request = MoneyField()
    image = MoneyField()


class AttemptSerializer(serializers.Serializer):
    """A provider that was tried, in order; `status` is null if it never answered."""

    provider = serializers.CharField()
    status = serializers.IntegerField(allow_null=True)
    ms = serializers.FloatField(allow_null=True, default=None)
    error = serializers.CharField(allow_null=True, default=None)


class RequestDetailSerializer(RequestSummarySerializer):
    cost_lines = serializers.SerializerMethodField()
    attempts = AttemptSerializer(many=True)

    @extend_schema_field(CostSerializer(allow_null=True))
    def get_cost_lines(self, row: ApiRequest) -> dict | None:
        if not row.cost_nano or row.price_version is None:
            return None
        lines = cost_lines(row.price_version.price, usage_of(row))
        return CostSerializer({"price_version": row.price_version_id, **lines}).data


class ContentSerializer(serializers.Serializer):
    """The request and its answer, as they were logged."""

    request = serializers.JSONField(help_text="The body as it was sent.")
    answer = serializers.JSONField()
    ip = serializers.CharField(allow_null=True)
    user_agent = serializers.CharField(allow_null=True)
    kept_until = TimeField()


class RequestQuery(PageQuery):
    key = serializers.UUIDField(required=False, help_text="The id of a key.")
    model = serializers.CharField(required=False, max_length=96)
    outcome = serializers.ChoiceField(ApiRequest.Outcome, required=False)


RequestPage = page_of(RequestSummarySerializer)


class RequestResource(Resource):
    scope = ApiKey.Scope.USAGE

    @property
    def rows(self) -> QuerySet[ApiRequest]:
        return ApiRequest.objects.filter(account=self.account)

    def find(self, request_id: uuid.UUID) -> ApiRequest:
        """Return the request. Raises Http404 unless it is this account's."""
        return get_object_or_404(self.rows.select_related("price_version"), pk=request_id)


class Requests(RequestResource):
    @extend_schema(
        "listRequests",
        summary="The log of requests",
        parameters=[RequestQuery],
        responses=RequestPage,
    )
    def get(self, request: Request) -> Response:
        query = self.query(RequestQuery)
        wanted = {name: query.pop(name) for name in ("key", "model", "outcome") if name in query}
        return Response(RequestPage(page(self.rows.filter(**wanted), **query)).data)


class OneRequest(RequestResource):
    @extend_schema("getRequest", summary="One request", responses=RequestDetailSerializer)
    def get(self, request: Request, request_id: uuid.UUID) -> Response:
        return Response(RequestDetailSerializer(self.find(request_id)).data)


class ContentOfRequest(RequestResource):
    """The content has its own scope, because it is more personal than the counts."""

    scope = ApiKey.Scope.PRIVACY

    @extend_schema(
        "getRequestContent",
        summary="The content of a request and its answer",
        responses=ContentSerializer,
    )
    def get(self, request: Request, request_id: uuid.UUID) -> Response:
        kept = content.row_of(self.find(request_id).pk, self.account.pk)
        plain = content.opened(kept, data_keys.cipher_of(request.user.pk))
        if kept is None or plain is None:
            raise NotFound("No content of this request is kept.")
        said = {**orjson.loads(plain), "kept_until": kept.purge_at}
        return Response(ContentSerializer(said).data)

    @extend_schema(
        "deleteRequestContent",
        summary="Delete the content of a request and its answer",
        responses={204: None},
    )
    def delete(self, request: Request, request_id: uuid.UUID) -> Response:
        content.delete_of_request(self.account.pk, self.find(request_id).pk)
        return Response(status=204)


class ContentOfAll(RequestResource):
    scope = ApiKey.Scope.PRIVACY

    @extend_schema(
        "deleteAllContent",
        summary="Delete the content of all requests so far and their answers",
        responses={204: None},
    )
    def delete(self, request: Request) -> Response:
        content.delete_all(self.account.pk)
        return Response(status=204)
