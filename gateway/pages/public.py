"""The public pages: models, their providers, and the status of both."""

import orjson
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import conditional_page, require_safe

from accounts.models import ProviderChoice
from gateway.access.consent import allowed
from gateway.analytics import showcase
from gateway.analytics.levels import LEAST_SAMPLES
from gateway.pages import showcase_json
from gateway.pages.model_filter import ModelFilter

JSON_MAX_AGE_S = 60


@login_not_required
@require_safe
def models(request: HttpRequest) -> HttpResponse:
    seen, choice = showcase.showcase(), _choice_of(request)
    form = ModelFilter(request.GET, seen=seen)
    context = {
        "seen": seen,
        "form": form,
        "models": [(one, one.standing(choice)) for one in form.found()],
        "least": LEAST_SAMPLES,
        **_shown_choice(choice),
    }
    return render(request, "gateway/models.html", context)


@login_not_required
@require_safe
def model(request: HttpRequest, slug: str) -> HttpResponse:
    seen = showcase.showcase()
    shown = seen.model(slug)
    if shown is None:
        raise Http404("There is no such model.")
    choice = _choice_of(request)
    context = {
        "seen": seen,
        "shown": shown,
        "standing": shown.standing(choice),
        "base_url": request.build_absolute_uri("/v1"),
        "least": LEAST_SAMPLES,
        **_shown_choice(choice),
    }
    return render(request, "gateway/model.html", context)


@login_not_required
@require_safe
def providers(request: HttpRequest) -> HttpResponse:
    context = {"seen": showcase.showcase(), **_shown_choice(_choice_of(request))}
    return render(request, "gateway/providers.html", context)


@login_not_required
@require_safe
def status(request: HttpRequest) -> HttpResponse:
    context = {"seen": showcase.showcase(), "least": LEAST_SAMPLES}
    return render(request, "gateway/status.html", context)


@login_not_required
@require_safe
@conditional_page
def models_json(request: HttpRequest) -> HttpResponse:
    return _json(showcase_json.models_object(showcase.showcase()))


@login_not_required
@require_safe
@conditional_page
def status_json(request: HttpRequest) -> HttpResponse:
    return _json(showcase_json.status_object(showcase.showcase()))


def _choice_of(request: HttpRequest) -> str:
    """Return the visitor's choice of providers (P7); a stranger has that of a new account."""
    return getattr(request.user, "provider_choice", "")


def _shown_choice(choice: str) -> dict:
    return {"choice": ProviderChoice(choice or ProviderChoice.NONE), "allowed": allowed(choice)}


def _json(content: dict) -> HttpResponse:
    headers = {"Cache-Control": f"public, max-age={JSON_MAX_AGE_S}"}
    return HttpResponse(orjson.dumps(content), content_type="application/json", headers=headers)
