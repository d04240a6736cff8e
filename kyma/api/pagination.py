"""Pages of rows, the newest first, by a cursor: the id after which to go on.

Ids are ordered by time (UUIDv7), so rows that come meanwhile shift nothing and none is shown twice.
"""

import uuid

from django.db.models import QuerySet
from rest_framework import serializers

from kyma.api.fields import StrictSerializer

USUAL = 50
MOST = 200


class PageQuery(StrictSerializer):
    """Which page is wanted."""

    cursor = serializers.UUIDField(required=False, help_text="`next_cursor` of the page before.")
    limit = serializers.IntegerField(
        default=USUAL, min_value=1, max_value=MOST, help_text="Rows of a page."
    )


def page(rows: QuerySet, *, limit: int, cursor: uuid.UUID | None = None) -> dict:
    """One page of `rows`, and where the next begins; None after the last."""
    if cursor is not None:
        rows = rows.filter(pk__lt=cursor)
    found = list(rows.order_by("-pk")[: limit + 1])
    return {
        "data": found[:limit],
        "next_cursor": found[limit - 1].pk if len(found) > limit else None,
    }


def page_of(one: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """What a page of `one` looks like."""
    data = one(many=True)
    cursor = serializers.UUIDField(allow_null=True, help_text="Null after the last page.")
    name = one.__name__.removesuffix("Serializer")
    return type(
        f"{name}PageSerializer",
        (serializers.Serializer,),
        {"data": data, "next_cursor": cursor},
    )


def list_of(one: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """What all of `one` look like, where there are never many."""
    name = one.__name__.removesuffix("Serializer")
    members = {"data": one(many=True)}
    return type(f"{name}ListSerializer", (serializers.Serializer,), members)
