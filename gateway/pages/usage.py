"""The usage page, and its lines as CSV. The page's sums agree with the ledger."""

from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.signed_in import SignedInRequest
from billing.accounts import open_account
from gateway.analytics import usage
from gateway.database import by_part
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
    """Download every line that passes the page's filters, newest first."""
    account = open_account(request.user)
    form = UsageForm(request.GET, user=request.user)
    if not form.is_valid():
        return HttpResponse(form.errors.as_text(), status=400, content_type="text/plain")
    parts = usage_lines.csv_parts(usage.lines(form.filter(account.id)))
    since, until = form.cleaned_data["since"], form.cleaned_data["until"]
    name = f"kyma-usage-{since:%Y-%m-%d}-{until:%Y-%m-%d}.csv"
    return StreamingHttpResponse(
        by_part(request, parts),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
