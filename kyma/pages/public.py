"""The pages that are open to everyone: landing, docs, terms and contact."""

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.models import RETENTION_CHOICES_DAYS
from billing.packages import PACKAGES_USD
from billing.tiers import TIERS
from kyma.pages import error_table, offer, snippets


@login_not_required
@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    models = offer.models_for(request)
    shown = snippets.context(request.build_absolute_uri("/"), models)
    context = {
        **shown,
        "curl": shown["snippets"][0],
        "offers": offer.teaser(models),
        "model_count": len(models),
        "signup_credit_nano": settings.SIGNUP_CREDIT_NANO,
    }
    return render(request, "kyma/landing.html", context)


@login_not_required
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    models = offer.models_for(request)
    context = {
        **snippets.context(request.build_absolute_uri("/"), models),
        "aliases": offer.meanings(models),
        "tiers": list(enumerate(TIERS)),
        "content_mb_per_day": settings.CONTENT_MB_PER_DAY,
        "retention_days": RETENTION_CHOICES_DAYS,
        "errors": error_table.rows(),
        "error_codes": error_table.codes(),
    }
    return render(request, "kyma/docs.html", context)


@login_not_required
@require_safe
def terms(request: HttpRequest) -> HttpResponse:
    return render(request, "kyma/terms.html", {"packages_usd": PACKAGES_USD})


@login_not_required
@require_safe
def contact(request: HttpRequest) -> HttpResponse:
    return render(request, "kyma/contact.html")
