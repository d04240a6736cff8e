"""Pages of rows, the newest first, by a cursor: the id of the last row before the page.

Ids are ordered by time (UUIDv7), so new rows shift nothing and no row is shown twice.
"""

import uuid

from django.db.models import QuerySet
from rest_framework import serializers

from kyma.api.fields import StrictSerializer

USUAL = 50
MOST = 200


class PageQuery(StrictSerializer):
    """The parameters of a page."""

    cursor = serializers.UUIDField(required=False, help_text="`next_cursor` of the page before.")
    limit = serializers.IntegerField(
        default=USUAL, min_value=1, max_value=MOST, help_text="Rows of a page."
    )


def page(rows: QuerySet, *, limit: int, cursor: uuid.UUID | None = None) -> dict:
    """Return one page of `rows` and the cursor of the next, which is None after the last."""
    if cursor is not None:
        rows = rows.filter(pk__lt=cursor)
    found = list(rows.order_by("-pk")[: limit + 1])
    return {
        "data": found[:limit],
        "next_cursor": found[limit - 1].pk if len(found) > limit else None,
    }


def page_of(one: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """Return the serializer of a page of `one`."""
    data = one(many=True)
    cursor = serializers.UUIDField(allow_null=True, help_text="Null after the last page.")
    name = one.__name__.removesuffix("Serializer")
    return type(
        f"{name}PageSerializer",
        (serializers.Serializer,),
        {"data": data, "next_cursor": cursor},
    )


def list_of(one: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """Return the serializer of a list of all `one`, for lists that are never long."""
    name = one.__name__.removesuffix("Serializer")
    members = {"data": one(many=True)}
    return type(f"{name}ListSerializer", (serializers.Serializer,), members)
