"""The usage page and its lines as CSV. Its sums are those of the ledger."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.signed_in import SignedInRequest
from billing.accounts import open_account
from gateway import usage
from gateway.database import give_connections_back
from gateway.pages import usage_figures, usage_lines
from gateway.pages.usage_form import UsageForm


@require_safe
def usage_page(request: SignedInRequest) -> HttpResponse:
    account = open_account(request.user)
    form = UsageForm(request.GET, user=request.user)
    context = {"section": "usage", "form": form, "query": request.GET.urlencode()}
    if form.is_valid():
        form.offer_what_was_used(account.id)
        context |= usage_figures.shown(form.filter(account.id), by=("model", "key", "provider"))
    return render(request, "gateway/usage.html", context)


@require_safe
def usage_csv(request: SignedInRequest) -> HttpResponse | StreamingHttpResponse:
    """Every line that the page's filters leave, newest first."""
    account = open_account(request.user)
    form = UsageForm(request.GET, user=request.user)
    if not form.is_valid():
        return HttpResponse(form.errors.as_text(), status=400, content_type="text/plain")
    parts = usage_lines.csv_parts(usage.lines(form.filter(account.id)))
    # Under ASGI a sync iterator would be read to its end before anything is sent.
    content = _in_thread(parts) if hasattr(request, "scope") else parts
    since, until = form.cleaned_data["since"], form.cleaned_data["until"]
    name = f"kyma-usage-{since:%Y-%m-%d}-{until:%Y-%m-%d}.csv"
    return StreamingHttpResponse(
        content,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _in_thread(parts: Iterator[str]) -> AsyncIterator[str]:
    following = sync_to_async(next_part)
    while (part := await following(parts)) is not None:
        yield part


def next_part(parts: Iterator[str]) -> str | None:
    """None after the last. Between two parts no connection is kept: the reader may be slow."""
    try:
        return next(parts, None)
    finally:
        give_connections_back()
