"""Models and prices, public: the usable models, their providers and their prices."""

import uuid

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ProviderChoice
from gateway.catalogue.entries import ModelEntry, PublicRoute, public_catalogue
from gateway.models import Provider
from kyma.api.fields import MoneyField
from kyma.api.pagination import list_of
from kyma.api.resource import Public


class OfferSerializer(serializers.Serializer):
    """A provider that serves the model, and what it states about keeping data."""

    slug = serializers.CharField(source="provider")
    name = serializers.CharField(source="provider_name")
    privacy_policy_url = serializers.CharField(allow_blank=True)
    retention = serializers.ChoiceField(Provider.Retention)
    states_retention = serializers.BooleanField(
        help_text="If false, the evidence of `retention` is missing or too old to count."
    )
    needed_choice = serializers.ChoiceField(
        ProviderChoice,
        help_text="The least choice in an account's privacy settings with which it is used.",
    )
    context_length = serializers.IntegerField(help_text="tokens")
    max_output_tokens = serializers.IntegerField()
    quantization = serializers.CharField(allow_blank=True)


class ModelSerializer(serializers.Serializer):
    id = serializers.CharField(source="slug", help_text="The value for `model` in a request.")
    name = serializers.CharField()
    maker = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    hugging_face_id = serializers.CharField(allow_blank=True)
    context_length = serializers.IntegerField(help_text="tokens")
    max_output_tokens = serializers.IntegerField(allow_null=True)
    capabilities = serializers.ListField(child=serializers.CharField())
    providers = OfferSerializer(source="candidates", many=True)


class PriceSerializer(serializers.Serializer):
    """Prices of one model at one provider: tokens per million, requests and images each."""

    model = serializers.CharField()
    provider = serializers.CharField()
    price_version = serializers.SerializerMethodField()
    verified = serializers.BooleanField(source="price_verified")
    input = MoneyField(source="price.input")
    cached_input = MoneyField(source="price.cached_input")
    output = MoneyField(source="price.output")
    request = MoneyField(source="price.request")
    image = MoneyField(source="price.image")

    def get_price_version(self, candidate) -> uuid.UUID:
        return uuid.UUID(candidate.price_version_id)


ModelList, PriceList = list_of(ModelSerializer), list_of(PriceSerializer)


class Models(Public):
    @extend_schema("listModels", summary="Models that can be used now", responses=ModelList)
    def get(self, request: Request) -> Response:
        return Response(ModelList({"data": _models()}).data)


class OneModel(Public):
    @extend_schema("getModel", summary="One model", responses=ModelSerializer)
    def get(self, request: Request, slug: str) -> Response:
        entry = next((one for one in _models() if one.slug == slug), None)
        if entry is None:
            raise NotFound("There is no such model. /api/models lists those that can be used.")
        return Response(ModelSerializer(entry).data)


class Prices(Public):
    @extend_schema(
        "listPrices", summary="Prices, the cheapest provider of a model first", responses=PriceList
    )
    def get(self, request: Request) -> Response:
        offers = [candidate for entry in _models() for candidate in entry.candidates]
        return Response(PriceList({"data": offers}).data)


def _models() -> list[ModelEntry[PublicRoute]]:
    return sorted(public_catalogue().values(), key=lambda one: one.slug)
