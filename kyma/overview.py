"""What a person sees first: what they have, what they spent, and how to begin."""

import datetime as dt

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing.accounts import open_account
from gateway import routing
from gateway.models import ApiRequest
from gateway.pages import usage_figures
from gateway.usage import Filter
from kyma import snippets

RANGES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
DEFAULT_RANGE = "7d"


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
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
        "breakdowns": [usage_figures.by_model(wanted), usage_figures.by_key(wanted)],
        "has_asked": ApiRequest.objects.filter(account=account).exists(),
        **usage_figures.shown(wanted),
        **first_steps(request),
    }
    return render(request, "kyma/overview.html", context)


@require_safe
def balance(request: HttpRequest) -> HttpResponse:
    """The balance alone: the overview asks for it again and again."""
    return render(request, "kyma/_balance.html", {"account": open_account(request.user)})


def start_of(chosen: str, until: dt.datetime) -> dt.datetime:
    """Where a range begins that ends now: a whole hour, or midnight in the current zone."""
    if chosen == "24h":
        return until.replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=23)
    days = int(chosen.removesuffix("d"))
    first_day = timezone.localtime(until).date() - dt.timedelta(days=days - 1)
    return timezone.make_aware(dt.datetime.combine(first_day, dt.time()))


def first_steps(request: HttpRequest) -> dict:
    """What a page shows of the snippets: for this Kyma, by the address that it was asked at."""
    base_url = request.build_absolute_uri("/").rstrip("/")
    models = snippets.models_for(routing.read_catalogue())
    return {
        "base_url": base_url,
        "export": snippets.EXPORT,
        "snippets": snippets.snippets(base_url, **models),
    }
