"""Making, changing and ending keys: the rules behind /v1/keys, /api/keys and the pages.

`by` is the key that makes the change, and may not give more than it has itself; None is the owner
in person. All of them see management keys in the list, but only the owner who is `signed_in` may
make, change or revoke these: a key that can make others must not lift its own limits or multiply.
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
from gateway.keys import news
from gateway.keys.fields import KeyFields
from gateway.models import ApiRequest, Model

MAX_KEYS = 1000  # Per person; revoked keys don't count.


def of_user(user_id: uuid.UUID) -> QuerySet[ApiKey]:
    """Return the keys of a person that aren't revoked, the newest first."""
    rows = ApiKey.objects.filter(user=user_id, revoked_at=None)
    return rows.select_related("user", "spend").order_by("-created_at", "-id")


def with_last_use(rows: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Add `last_used_at` to each key: when its newest request came in, or None."""
    requests = ApiRequest.objects.filter(key=OuterRef("pk")).order_by("-created_at")
    return rows.annotate(last_used_at=Subquery(requests.values("created_at")[:1]))


def find(user_id: uuid.UUID, key_id: uuid.UUID | None) -> ApiKey:
    """Return this person's key. Raises NotFound, also for a key of another person."""
    row = with_last_use(of_user(user_id)).filter(pk=key_id).first() if key_id else None
    if row is None:
        raise NotFound("There is no such key in this account.", code="key_not_found")
    return row


def make(user_id: uuid.UUID, fields: KeyFields, *, by: ApiKey | None) -> tuple[ApiKey, str]:
    """Make a key and its caps in one transaction. Returns the key and its secret text.

    Raises Forbidden for more than `by` may give or when there are too many keys, InvalidRequest
    for a model that doesn't exist.
    """
    if by:
        key_grants.check(by, key_grants.rules_of(ApiKey(**fields.columns)))
    _check_models(fields)
    with transaction.atomic():
        user = _with_room_for_a_key(user_id)
        key, text = keys.issue(user, **fields.columns)
        set_caps(key, fields.caps)
        news.report(user, key, news.MADE, by=by)
    return find(user_id, key.id), text


def change(
    user_id: uuid.UUID,
    key_id: uuid.UUID | None,
    fields: KeyFields,
    *,
    by: ApiKey | None,
    signed_in: bool = False,
) -> ApiKey:
    """Change the named fields of a key.

    Raises NotFound; Forbidden for a management key unless `signed_in`, and for more than `by` may
    give; InvalidRequest for a model that doesn't exist.
    """
    key = _find_to_manage(user_id, key_id, by=by, signed_in=signed_in)
    if by:
        key_grants.check(by, fields.columns)
    _check_models(fields)
    columns = dict(fields.columns)
    if key.disabled_at and columns.get("disabled_at"):
        del columns["disabled_at"]  # Keep the time at which the key was first disabled.
    gains_scopes = not {*columns.get("scopes", ())} <= {*key.scopes}
    with transaction.atomic():
        if columns:
            ApiKey.objects.filter(pk=key.pk).update(**columns)
        set_caps(key, fields.caps_of(sheet_of(key).tightest))
        changed = find(user_id, key.id)
        if gains_scopes:
            news.report(changed.user, changed, news.MAY_MORE, by=by)
    return changed


def disable(user_id: uuid.UUID, key_id: uuid.UUID | None) -> None:
    """Disable a key for its owner, until it is enabled again. Raises NotFound."""
    keys.disable(find(user_id, key_id))


def enable(user_id: uuid.UUID, key_id: uuid.UUID | None) -> None:
    """Enable a key for its owner. Raises NotFound."""
    keys.enable(find(user_id, key_id))


def rotate(
    user_id: uuid.UUID,
    key_id: uuid.UUID | None,
    *,
    grace: dt.timedelta,
    by: ApiKey | None,
    signed_in: bool = False,
) -> tuple[ApiKey, str]:
    """Replace a key by a new one with the same rules and caps; the old one ends after `grace`.

    Return the new key and its secret text. Its spend starts at zero. Raises NotFound; Forbidden
    for a management key unless `signed_in`, for more than `by` may give, or when the old and the
    new key together would be too many; InvalidRequest for a key that has ended.
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
        news.report(old.user, new, news.REPLACED, by=by)
    return find(user_id, new.id), text


def revoke(
    user_id: uuid.UUID, key_id: uuid.UUID | None, *, by: ApiKey | None, signed_in: bool = False
) -> None:
    """Revoke a key for good.

    Raises NotFound; Forbidden for a management key unless `signed_in`, and for a key that `by`
    may not reach.
    """
    keys.revoke(_find_to_manage(user_id, key_id, by=by, signed_in=signed_in))


def _with_room_for_a_key(user_id: uuid.UUID) -> User:
    """Lock and return the person, so that no other key is made until the transaction ends.

    Raises Forbidden when there are too many keys.
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
    """Raise InvalidRequest for an unknown model: a mistyped slug would make the key unusable."""
    slugs = fields.columns.get("allowed_models", [])
    known = set(Model.objects.filter(slug__in=slugs).values_list("slug", flat=True))
    for index, slug in enumerate(slugs):
        if slug not in known:
            raise InvalidRequest(
                "There is no such model. GET /v1/models lists those that can be used.",
                param=f"allowed_models[{index}]",
                code="model_not_found",
            )
