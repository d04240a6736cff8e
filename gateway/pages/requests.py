"""The pages of the request log: all requests, one in full, and the deletion of their content."""

import uuid

import orjson
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import pluralize
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.keyring import data_keys
from accounts.signed_in import SignedInRequest
from billing.accounts import open_account
from gateway.log import content
from gateway.log.transcript import transcript_of
from gateway.models import ApiRequest, RequestContent
from gateway.pages import request_search
from gateway.pages.request_forms import SearchForm
from gateway.receipts import receipt as receipts

_CLASSES = {
    "input": "Input tokens",
    "cached_input": "Cached input tokens",
    "output": "Output tokens",
    "request": "Request",
    "image": "Images",
}


@require_safe
def requests(request: SignedInRequest) -> HttpResponse:
    account = open_account(request.user)
    form = SearchForm(request.GET, user=request.user)
    rows: list[ApiRequest] = []
    has_older = False
    if form.is_valid():
        before = _cursor(request, account.id)
        rows, has_older = request_search.find(account.id, form.search, before=before)
    is_filtered = any(request.GET.get(name) for name in form.fields)
    is_first_page = "before" not in request.GET
    context = {
        "form": form,
        "rows": rows,
        "is_filtered": is_filtered,
        "is_first_page": is_first_page,
        "is_begun": bool(rows) or is_filtered or not is_first_page,
        "newest": _query(request),
        "older": _query(request, before=str(rows[-1].id)) if has_older else "",
    }
    return _shown(request, "requests", context, status=400 if form.errors else 200)


@require_safe
@never_cache
def one_request(request: SignedInRequest, request_id: uuid.UUID) -> HttpResponse:
    row = _own_request(request, request_id)
    kept = content.row_of(row.id, row.account_id)
    plain = _opened(request, kept)
    receipt = receipts.receipt_of(row, plain)
    context = {
        "row": row,
        "lines": [_line(one) for one in receipt["lines"] if _is_worth_a_line(one)],
        "capped": receipt["capped"],
        "transcript": transcript_of(plain) if plain is not None else None,
        "purge_at": kept.purge_at if kept else None,
        "why_none": "" if plain is not None else content.why_none(row, is_kept=kept is not None),
    }
    return _shown(request, "request", context)


@require_safe
@never_cache
def receipt(request: SignedInRequest, request_id: uuid.UUID) -> HttpResponse:
    """Download the signed receipt, which anybody can check with the published keys."""
    row = _own_request(request, request_id)
    kept = content.row_of(row.id, row.account_id)
    signed = receipts.signed_receipt(row, _opened(request, kept))
    name = f'attachment; filename="kyma-receipt-{row.id}.json"'
    return HttpResponse(
        orjson.dumps(signed, option=orjson.OPT_INDENT_2),
        content_type="application/json",
        headers={"Content-Disposition": name},
    )


@require_http_methods(["GET", "HEAD", "POST"])
def delete_content(request: SignedInRequest, request_id: uuid.UUID) -> HttpResponse:
    row = _own_request(request, request_id)
    if request.method != "POST":
        return _shown(request, "request_delete", {"row": row})
    content.delete_of_request(row.account_id, row.id)
    messages.success(request, "The content of this request is deleted.")
    return redirect("request", row.id)


@require_http_methods(["GET", "HEAD", "POST"])
def delete_all_content(request: SignedInRequest) -> HttpResponse:
    if request.method != "POST":
        return _shown(request, "request_delete_all", {})
    deleted = content.delete_all(open_account(request.user).id)
    messages.success(request, _deleted(deleted))
    return redirect("requests")


def _deleted(requests: int) -> str:
    if not requests:
        return "There was no content to delete."
    return f"The content of {requests:,} request{pluralize(requests)} is deleted."


def _own_request(request: SignedInRequest, request_id: uuid.UUID) -> ApiRequest:
    rows = request_search.of_account(open_account(request.user).id)
    row = rows.select_related("key", "price_version").filter(pk=request_id).first()
    if row is None:
        raise Http404("There is no such request in this account.")
    return row


def _cursor(request: SignedInRequest, account_id: uuid.UUID) -> ApiRequest | None:
    text = request.GET.get("before", "")
    if not text:
        return None
    try:
        return request_search.of_account(account_id).get(pk=uuid.UUID(text))
    except (ValueError, ApiRequest.DoesNotExist) as error:
        raise Http404("There is no such page.") from error


def _opened(request: SignedInRequest, kept: RequestContent | None) -> bytes | None:
    return content.opened(kept, data_keys.cipher_of(request.user.id)) if kept else None


def _is_worth_a_line(line: dict) -> bool:
    """True when a line has a quantity and, unless it counts tokens, a price.

    Few providers charge per request or image.
    """
    return line["quantity"] and (line["price_nano"] or line["per"] > 1)


def _line(line: dict) -> dict:
    """Return a line of the receipt with its label. Prices of tokens are per million."""
    is_tokens = line["per"] > 1
    return {
        **line,
        "label": _CLASSES[line["class"]],
        "unit": "per million" if is_tokens else "each",
    }


def _query(request: SignedInRequest, **changes: str) -> str:
    """Return the query of this page without its cursor and with `changes`."""
    query = request.GET.copy()
    query.pop("before", None)
    query.update(changes)
    return query.urlencode()


def _shown(request: SignedInRequest, name: str, context: dict, **options) -> HttpResponse:
    return render(request, f"gateway/{name}.html", {"section": "requests", **context}, **options)
