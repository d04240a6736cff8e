"""The usage of the account: sums, over time, by model, key or provider, and line by line.

All sums equal the ledger to the nano-dollar.
"""

import datetime as dt
import zoneinfo
from dataclasses import asdict

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from gateway.analytics import periods, usage
from gateway.analytics.usage import Filter
from gateway.serving import sessions
from kyma.api.fields import MoneyField, StrictSerializer, TimeField
from kyma.api.pagination import PageQuery, list_of, page, page_of
from kyma.api.resource import Resource
from kyma.pages import time_zone

USUAL_RANGE = dt.timedelta(days=30)
LONGEST_RANGE = dt.timedelta(days=400)


# --- What may be asked ---------------------------------------------------------------------------


class UsageQuery(StrictSerializer):
    """The range, and the filters on it."""

    since = TimeField(required=False, help_text="Inclusive. Without it: 30 days before `until`.")
    until = TimeField(required=False, help_text="Exclusive. Without it: now.")
    key = serializers.UUIDField(required=False, help_text="The id of a key.")
    model = serializers.CharField(required=False, max_length=96)
    provider = serializers.CharField(required=False, max_length=32)
    status = serializers.ChoiceField(["ok", "error"], required=False)
    session = serializers.CharField(
        required=False, max_length=256, help_text="The `session_id` of the requests."
    )

    def validate_since(self, moment: dt.datetime) -> dt.datetime:
        if not periods.is_askable(moment):
            raise serializers.ValidationError(
                f"Must be from {periods.FIRST_DAY} to {periods.LAST_DAY}."
            )
        return moment

    validate_until = validate_since

    def validate(self, given: dict) -> dict:
        until = given.setdefault("until", timezone.now())
        since = given.setdefault("since", until - USUAL_RANGE)
        if not since < until:
            raise serializers.ValidationError({"since": "Must be before `until`."})
        if until - since > LONGEST_RANGE:
            raise serializers.ValidationError(
                {"since": f"At most {LONGEST_RANGE.days} days before `until`."}
            )
        return given


class OverTimeQuery(UsageQuery):
    zone = serializers.CharField(default="UTC", max_length=64, help_text="As `Europe/Oslo`.")

    def validate_zone(self, name: str) -> zoneinfo.ZoneInfo:
        if name not in time_zone.names():
            raise serializers.ValidationError("There is no such time zone.")
        return zoneinfo.ZoneInfo(name)


class BreakdownQuery(UsageQuery):
    by = serializers.ChoiceField(["model", "key", "provider"], default="model")


class LinesQuery(UsageQuery, PageQuery):
    """The parameters of a page of lines."""


# --- What is answered ----------------------------------------------------------------------------


class FiguresSerializer(serializers.Serializer):
    requests = serializers.IntegerField()
    errors = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField(help_text="Includes cached tokens.")
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField(help_text="Reasoning included.")
    reasoning_tokens = serializers.IntegerField()
    cost = MoneyField(source="cost_nano")
    latency_p50_ms = serializers.IntegerField(allow_null=True)
    latency_p95_ms = serializers.IntegerField(allow_null=True)
    first_token_p50_ms = serializers.IntegerField(allow_null=True)


class TotalSerializer(FiguresSerializer):
    since = TimeField()
    until = TimeField()
    errors_by_class = serializers.DictField(child=serializers.IntegerField())


class PeriodSerializer(FiguresSerializer):
    """One hour, or one day if the range is longer than 48 hours."""

    start = TimeField()


class ShareSerializer(FiguresSerializer):
    name = serializers.CharField(allow_blank=True, help_text="A slug, or the name of the key.")
    key_id = serializers.UUIDField(allow_null=True)


class LineSerializer(serializers.Serializer):
    """One request with its usage and cost."""

    id = serializers.UUIDField()
    created_at = TimeField()
    key_id = serializers.UUIDField(allow_null=True)
    model = serializers.CharField(allow_blank=True)
    provider = serializers.CharField(allow_blank=True)
    status = serializers.IntegerField()
    session_hash = serializers.CharField(allow_blank=True)
    prompt_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    cost = MoneyField(source="cost_nano")


PeriodList, ShareList = list_of(PeriodSerializer), list_of(ShareSerializer)
LinePage = page_of(LineSerializer)


# --- Views ---------------------------------------------------------------------------------------


class UsageResource(Resource):
    scope = ApiKey.Scope.USAGE

    def filter(self, query: dict) -> Filter:
        return Filter(
            account_id=self.account.id,
            since=query["since"],
            until=query["until"],
            key_id=query.get("key"),
            model=query.get("model", ""),
            provider=query.get("provider", ""),
            status=query.get("status", ""),
            session=sessions.hash_of(query.get("session", ""), self.account.id.hex),
        )


class UsageTotal(UsageResource):
    @extend_schema(
        "getUsage", summary="Usage in total", parameters=[UsageQuery], responses=TotalSerializer
    )
    def get(self, request: Request) -> Response:
        wanted = self.filter(self.query(UsageQuery))
        shown = {
            **asdict(usage.total(wanted)),
            "since": wanted.since,
            "until": wanted.until,
            "errors_by_class": usage.errors_by_class(wanted),
        }
        return Response(TotalSerializer(shown).data)


class UsageOverTime(UsageResource):
    @extend_schema(
        "getUsageOverTime",
        summary="Usage by hour or day",
        parameters=[OverTimeQuery],
        responses=PeriodList,
    )
    def get(self, request: Request) -> Response:
        query = self.query(OverTimeQuery)
        periods = usage.over_time(self.filter(query), zone=query["zone"])
        rows = [{**asdict(figures), "start": start} for start, figures in periods]
        return Response(PeriodList({"data": rows}).data)


class UsageBreakdown(UsageResource):
    @extend_schema(
        "getUsageBreakdown",
        summary="Usage by model, key or provider, the most expensive first",
        parameters=[BreakdownQuery],
        responses=ShareList,
    )
    def get(self, request: Request) -> Response:
        query = self.query(BreakdownQuery)
        shares = _SHARES[query["by"]](self.filter(query))
        return Response(ShareList({"data": [_share(*one) for one in shares]}).data)


_SHARES = {"model": usage.by_model, "key": usage.by_key, "provider": usage.by_provider}


def _share(label: ApiKey | str | None, figures) -> dict:
    if isinstance(label, ApiKey):
        return {**asdict(figures), "name": label.name, "key_id": label.id}
    return {**asdict(figures), "name": label or "", "key_id": None}


class UsageLines(UsageResource):
    @extend_schema(
        "listUsageLines", summary="Usage line by line", parameters=[LinesQuery], responses=LinePage
    )
    def get(self, request: Request) -> Response:
        query = self.query(LinesQuery)
        lines = usage.lines(self.filter(query))
        shown = page(lines, limit=query["limit"], cursor=query.get("cursor"))
        return Response(LinePage(shown).data)
