"""Keys made, changed and ended by their owner: what stands behind /v1/keys and the pages.

`by` is the key that asks, which hands on no more than it has (`key_grants.py`); None is the person.
Management keys are listed for all, but made, changed and revoked by their owner alone, who is
`signed_in`: a key that can make others must not be able to lift its own limits or to multiply.
"""

import datetime as dt
import uuid

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from accounts import keys
from accounts.errors import InvalidKey
from accounts.models import ApiKey, User
from billing.key_caps import caps_of, set_caps, sheet_of
from gateway.errors import Forbidden, InvalidRequest, NotFound
from gateway.keys import grants as key_grants
from gateway.keys.fields import KeyFields
from gateway.models import ApiRequest, Model

MAX_KEYS = 1000  # of one person; revoked ones don't count


def of_user(user_id: uuid.UUID) -> QuerySet[ApiKey]:
    """The keys of a person that aren't revoked, the newest first."""
    rows = ApiKey.objects.filter(user=user_id, revoked_at=None)
    return rows.select_related("user", "spend").order_by("-created_at", "-id")


def with_last_use(rows: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Each key with `last_used_at`: when its newest request came in, else None."""
    requests = ApiRequest.objects.filter(key=OuterRef("pk")).order_by("-created_at")
    return rows.annotate(last_used_at=Subquery(requests.values("created_at")[:1]))


def find(user_id: uuid.UUID, key_id: uuid.UUID | None) -> ApiKey:
    """Raises NotFound for what isn't this person's."""
    row = with_last_use(of_user(user_id)).filter(pk=key_id).first() if key_id else None
    if row is None:
        raise NotFound("There is no such key in this account.", code="key_not_found")
    return row


def make(user_id: uuid.UUID, fields: KeyFields, *, by: ApiKey | None) -> tuple[ApiKey, str]:
    """A new key and its text, never without the caps that were asked for.

    Raises Forbidden for more than `by` may give and when there are too many, InvalidRequest for a
    model that doesn't exist.
    """
    if by:
        key_grants.check(by, key_grants.rules_of(ApiKey(**fields.columns)))
    _check_models(fields)
    with transaction.atomic():
        user = _with_room_for_a_key(user_id)
        key, text = keys.issue(user, **fields.columns)
        set_caps(key, fields.caps)
    return find(user_id, key.id), text


def change(
    user_id: uuid.UUID,
    key_id: uuid.UUID | None,
    fields: KeyFields,
    *,
    by: ApiKey | None,
    signed_in: bool = False,
) -> ApiKey:
    """Raises NotFound, and Forbidden for a management key and for more than `by` may give."""
    key = _find_to_manage(user_id, key_id, by=by, signed_in=signed_in)
    if by:
        key_grants.check(by, fields.columns)
    _check_models(fields)
    columns = dict(fields.columns)
    if key.disabled_at and columns.get("disabled_at"):
        del columns["disabled_at"]  # It was disabled then, not now.
    with transaction.atomic():
        if columns:
            ApiKey.objects.filter(pk=key.pk).update(**columns)
        set_caps(key, fields.caps_of(sheet_of(key).tightest))
    return find(user_id, key.id)


def disable(user_id: uuid.UUID, key_id: uuid.UUID | None) -> None:
    """By its owner, until it is enabled. Raises NotFound."""
    keys.disable(find(user_id, key_id))


def enable(user_id: uuid.UUID, key_id: uuid.UUID | None) -> None:
    """By its owner. Raises NotFound."""
    keys.enable(find(user_id, key_id))


def rotate(
    user_id: uuid.UUID,
    key_id: uuid.UUID | None,
    *,
    grace: dt.timedelta,
    by: ApiKey | None,
    signed_in: bool = False,
) -> tuple[ApiKey, str]:
    """A new key with the rules and caps of an old one, which ends after `grace`.

    What it has spent begins at nothing. Raises NotFound, Forbidden for a management key, for more
    than `by` may give or when both would be too many, and InvalidRequest for one that has ended.
    """
    old = _find_to_manage(user_id, key_id, by=by, signed_in=signed_in)
    if by:
        key_grants.check(by, key_grants.rules_of(old))
    with transaction.atomic():
        if grace:
            _with_room_for_a_key(user_id)
        try:
            new, text = keys.rotate(old, grace=grace)
        except InvalidKey as error:
            raise InvalidRequest(str(error), code="key_has_ended") from error
        set_caps(new, caps_of(old))
    return find(user_id, new.id), text


def revoke(
    user_id: uuid.UUID, key_id: uuid.UUID | None, *, by: ApiKey | None, signed_in: bool = False
) -> None:
    """For good. Raises NotFound, and Forbidden for a management key and one beyond `by`."""
    keys.revoke(_find_to_manage(user_id, key_id, by=by, signed_in=signed_in))


def _with_room_for_a_key(user_id: uuid.UUID) -> User:
    """The person, locked until the transaction ends: nobody else makes them a key meanwhile.

    Raises Forbidden when there are too many.
    """
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    if of_user(user_id).count() >= MAX_KEYS:
        raise Forbidden(
            f"There are {MAX_KEYS} keys already: delete some first.", code="too_many_keys"
        )
    return user


def _find_to_manage(
    user_id: uuid.UUID, key_id: uuid.UUID | None, *, by: ApiKey | None, signed_in: bool
) -> ApiKey:
    key = find(user_id, key_id)
    if key.is_management and not signed_in:
        raise Forbidden(
            "Management keys are changed and revoked by their owner alone, signed in at /keys.",
            code="management_key",
        )
    if by:
        key_grants.check_reach(by, key)
    return key


def _check_models(fields: KeyFields) -> None:
    """A slug that is mistyped would make a key that can't be used."""
    slugs = fields.columns.get("allowed_models", [])
    known = set(Model.objects.filter(slug__in=slugs).values_list("slug", flat=True))
    for index, slug in enumerate(slugs):
        if slug not in known:
            raise InvalidRequest(
                "There is no such model. GET /v1/models lists those that can be used.",
                param=f"allowed_models[{index}]",
                code="model_not_found",
            )
