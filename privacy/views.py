"""Kyma's privacy policy, and each person's settings for it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import ApiKey, ProviderChoice
from accounts.signed_in import SignedInRequest
from privacy import policy as the_policy
from privacy import provider_policy
from privacy.asking import asks_nothing
from privacy.forms import ChoiceForm, FirstChoiceForm


@login_not_required
@require_safe
def policy(request: HttpRequest) -> HttpResponse:
    context = {
        "version": the_policy.VERSION,
        "last_updated": the_policy.LAST_UPDATED,
        "last_review": the_policy.LAST_REVIEW,
    }
    return render(request, "privacy/policy.html", context)


@asks_nothing
@require_http_methods(["GET", "HEAD", "POST"])
def choose_providers(request: SignedInRequest) -> HttpResponse:
    """Ask once which providers may answer, and lead on to the page that the person wanted."""
    today = timezone.now().date()
    onward = _onward(request)
    if request.method == "POST":
        form = FirstChoiceForm(request.POST, today=today)
        if form.is_valid():
            provider_policy.choose(request.user, form.cleaned_data["choice"])
            return redirect(onward)
    elif request.user.provider_choice:
        return redirect("privacy_settings")
    else:
        form = FirstChoiceForm(initial={"choice": ProviderChoice.NONE}, today=today)
    return render(request, "privacy/choose.html", {"form": form, "next": onward})


def _onward(request: HttpRequest) -> str:
    """Return the address in `next` if it is one of ours, or that of the overview."""
    asked = request.POST.get("next") or request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(
        asked, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return asked if is_ours else reverse("overview")


@asks_nothing
@require_http_methods(["GET", "HEAD", "POST"])
def privacy_settings(request: SignedInRequest) -> HttpResponse:
    user, today = request.user, timezone.now().date()
    if request.method == "POST":
        form = ChoiceForm(request.POST, today=today)
        if form.is_valid():
            provider_policy.choose(user, form.cleaned_data["choice"])
            messages.success(request, "Saved. It counts for every request from now on.")
            return redirect("privacy_settings")
    else:
        form = ChoiceForm(
            initial={"choice": user.provider_choice or ProviderChoice.NONE}, today=today
        )
    context = {
        "section": "privacy",
        "form": form,
        "keys": ApiKey.objects.filter(user=user, revoked_at=None).order_by("-created_at"),
        "history": provider_policy.history(user),
    }
    return render(request, "privacy/settings.html", context)
