"""How /api/ writes money and times, and how it checks bodies."""

import datetime as dt

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.pricing import usd


class MoneySerializer(serializers.Serializer):
    """An amount of money."""

    usd = serializers.RegexField(r"^-?\d+\.\d{1,9}$", help_text="Dollars, exact.")
    nano = serializers.IntegerField(help_text="The same amount in nano-dollars (10⁻⁹ USD).")


@extend_schema_field(MoneySerializer)
class MoneyField(serializers.Field):
    """Nano-dollars, shown as that integer and as an exact decimal text of dollars."""

    def __init__(self, **options):
        super().__init__(read_only=True, **options)

    def to_representation(self, value: int) -> dict:
        return {"usd": usd(value), "nano": value}


class TimeField(serializers.DateTimeField):
    """ISO 8601 in UTC, even if the person's pages use another zone."""

    def __init__(self, **options):
        super().__init__(default_timezone=dt.UTC, **options)


class StrictSerializer(serializers.Serializer):
    """Unknown fields are refused, so that a mistyped one isn't silently ignored."""

    def to_internal_value(self, data):
        if isinstance(data, dict) and (unknown := set(data) - set(self.fields)):
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {str(name)[:64]: [f"Unknown field. Known fields: {known}."] for name in unknown}
            )
        return super().to_internal_value(data)
