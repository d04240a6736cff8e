"""The first page for a signed-in person: balance, recent usage, and how to begin."""

import datetime as dt

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.signed_in import SignedInRequest
from billing.accounts import open_account
from gateway.analytics.periods import midnight
from gateway.analytics.usage import Filter
from gateway.models import ApiRequest
from gateway.pages import usage_figures
from kyma.pages import offer, snippets

RANGES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
DEFAULT_RANGE = "7d"


@require_safe
def overview(request: SignedInRequest) -> HttpResponse:
    account = open_account(request.user)
    chosen = request.GET.get("range")
    chosen = chosen if chosen in RANGES else DEFAULT_RANGE
    until = timezone.now()
    wanted = Filter(account_id=account.id, since=start_of(chosen, until), until=until)
    context = {
        "section": "overview",
        "account": account,
        "ranges": RANGES,
        "range": chosen,
        "has_asked": ApiRequest.objects.filter(account=account).exists(),
        **usage_figures.shown(wanted),
        **snippets.context(request.build_absolute_uri("/"), offer.models_for(request)),
    }
    return render(request, "kyma/overview.html", context)


@require_safe
def balance(request: SignedInRequest) -> HttpResponse:
    """Return the balance alone, which the overview requests again and again."""
    return render(request, "kyma/_balance.html", {"account": open_account(request.user)})


def start_of(chosen: str, until: dt.datetime) -> dt.datetime:
    """Return the start of a range that ends now: a full hour, or midnight in the current zone."""
    if chosen == "24h":
        return until.replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=23)
    days = int(chosen.removesuffix("d"))
    first_day = timezone.localtime(until).date() - dt.timedelta(days=days - 1)
    return midnight(first_day)
