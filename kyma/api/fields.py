"""How /api/ writes money and times, and reads what it is sent: nothing that it doesn't know."""

import datetime as dt

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.pricing import usd


class MoneySerializer(serializers.Serializer):
    """An amount of money."""

    usd = serializers.RegexField(r"^-?\d+\.\d{1,9}$", help_text="Dollars, exact.")
    nano = serializers.IntegerField(help_text="The same in nano-dollars (10⁻⁹ USD).")


@extend_schema_field(MoneySerializer)
class MoneyField(serializers.Field):
    """Nano-dollars, as that integer and as an exact decimal text of dollars."""

    def __init__(self, **options):
        super().__init__(read_only=True, **options)

    def to_representation(self, value: int) -> dict:
        return {"usd": usd(value), "nano": value}


class TimeField(serializers.DateTimeField):
    """ISO 8601 in UTC, whatever zone the person's pages are in."""

    def __init__(self, **options):
        super().__init__(default_timezone=dt.UTC, **options)


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it doesn't know: one that is mistyped must not silently count for
    nothing."""

    def to_internal_value(self, data):
        if isinstance(data, dict) and (unknown := set(data) - set(self.fields)):
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {str(name)[:64]: [f"Not known here. Those are: {known}."] for name in unknown}
            )
        return super().to_internal_value(data)
