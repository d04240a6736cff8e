"""The pages on which people make, change and end their keys.

A key's text is shown once, in the answer to the request that made it. No cache may keep that.
"""

import uuid

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import ApiKey
from accounts.signed_in import SignedInRequest
from billing.key_caps import CAPS, sheet_of
from gateway.errors import GatewayError, NotFound
from gateway.keys import management as key_management
from gateway.pages.key_forms import KeyForm, RotateForm

PAGE = 100
_PERIODS = {
    "total": "In total",
    "day": "Today (UTC)",
    "week": "This week",
    "month": "This month",
}


@require_safe
def keys(request: SignedInRequest) -> HttpResponse:
    rows = key_management.with_last_use(key_management.of_user(request.user.id))
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    return _shown(request, "keys", {"page": page, "lines": [_line(key) for key in page]})


def _line(key: ApiKey) -> dict:
    sheet = sheet_of(key)
    caps = [(period, cap) for period, cap in sheet.caps.items() if cap is not None]
    return {"key": key, "spent": sheet.spent, "caps": caps}


def _wants_rights(request: SignedInRequest) -> bool:
    """True for a key that may do more than ask models."""
    post = request.POST
    return request.method == "POST" and bool(post.get("is_management") or post.getlist("scopes"))


# A key outlives the session. So a page that shows the text of one with rights, or gives one more,
# asks first for the password or a second factor.
_confirmed = reauthentication_required(enabled=lambda request: request.method == "POST")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@reauthentication_required(enabled=_wants_rights)
def new_key(request: SignedInRequest) -> HttpResponse:
    form = KeyForm(request.POST or None)
    if form.is_valid():
        try:
            key, text = key_management.make(request.user.id, form.key_fields, by=None)
        except GatewayError as refusal:
            form.refuse(refusal)
        else:
            return _shown(request, "key_created", {"key": key, "text": text}, status=201)
    return _shown(request, "key_new", {"form": form}, status=400 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def key(request: SignedInRequest, key_id: uuid.UUID) -> HttpResponse:
    row = _own_key(request, key_id)
    gains = {*request.POST.getlist("scopes")} - {*row.scopes}
    change = _confirmed(_change) if gains else _change
    return change(request, row)


def _change(request: SignedInRequest, row: ApiKey) -> HttpResponse:
    form = KeyForm(request.POST or None, key=row)
    if form.is_valid():
        try:
            key_management.change(request.user.id, row.id, form.key_fields, by=None, signed_in=True)
        except GatewayError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, "Saved. The change takes effect within two seconds.")
            return redirect("key", row.id)
    context = {"key": row, "form": form, "spend": _spend(row)}
    return _shown(request, "key", context, status=400 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def rotate_key(request: SignedInRequest, key_id: uuid.UUID) -> HttpResponse:
    old = _own_key(request, key_id)
    rotate = _confirmed(_rotate) if old.is_management or old.scopes else _rotate
    return rotate(request, old)


def _rotate(request: SignedInRequest, old: ApiKey) -> HttpResponse:
    form = RotateForm(request.POST or None, label_suffix="")
    if not form.is_valid():
        return _shown(request, "key_rotate", {"key": old, "form": form})
    try:
        new, text = key_management.rotate(
            request.user.id, old.id, grace=form.grace_time, by=None, signed_in=True
        )
    except GatewayError as refusal:
        messages.error(request, refusal.message)
        return redirect("key", old.id)
    old = ApiKey.objects.get(pk=old.pk)
    return _shown(request, "key_created", {"key": new, "text": text, "old": old}, status=201)


@require_http_methods(["GET", "HEAD", "POST"])
def revoke_key(request: SignedInRequest, key_id: uuid.UUID) -> HttpResponse:
    row = _own_key(request, key_id)
    if request.method != "POST":
        return _shown(request, "key_revoke", {"key": row})
    key_management.revoke(request.user.id, row.id, by=None, signed_in=True)
    messages.success(request, f"“{row.name}” is revoked. It is refused within two seconds.")
    return redirect("keys")


@require_POST
def disable_key(request: SignedInRequest, key_id: uuid.UUID) -> HttpResponse:
    row = _own_key(request, key_id)
    key_management.disable(request.user.id, row.id)
    messages.success(request, "Disabled. It is refused within two seconds, until you enable it.")
    return redirect("key", row.id)


@require_POST
def enable_key(request: SignedInRequest, key_id: uuid.UUID) -> HttpResponse:
    row = _own_key(request, key_id)
    key_management.enable(request.user.id, row.id)
    messages.success(request, "Enabled. It works within two seconds.")
    return redirect("key", row.id)


def _own_key(request: SignedInRequest, key_id: uuid.UUID) -> ApiKey:
    try:
        return key_management.find(request.user.id, key_id)
    except NotFound as missing:
        raise Http404(missing.message) from missing


def _spend(row: ApiKey) -> list[dict]:
    """Return the spend of each period with its cap."""
    sheet = sheet_of(row)
    return [
        {"period": _PERIODS[one], "spent_nano": sheet.spent[one], "cap_nano": sheet.caps[one]}
        for one in CAPS
    ]


def _shown(request: SignedInRequest, name: str, context: dict, **options) -> HttpResponse:
    return render(request, f"gateway/{name}.html", {"section": "keys", **context}, **options)
