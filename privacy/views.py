"""Kyma's privacy policy, and each person's settings for it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import ApiKey
from accounts.signed_in import SignedInRequest
from privacy import policy as the_policy
from privacy import provider_policy
from privacy.forms import ProviderPolicyForm


@login_not_required
@require_safe
def policy(request: HttpRequest) -> HttpResponse:
    context = {
        "version": the_policy.VERSION,
        "last_updated": the_policy.LAST_UPDATED,
        "last_review": the_policy.LAST_REVIEW,
    }
    return render(request, "privacy/policy.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def privacy_settings(request: SignedInRequest) -> HttpResponse:
    user = request.user
    if request.method == "POST":
        form = ProviderPolicyForm(request.POST)
        if form.is_valid():
            allowed = form.cleaned_data["allows_unstated_retention"]
            provider_policy.allow_unstated_retention(user, allowed=allowed)
            messages.success(request, "Saved. It counts for every request from now on.")
            return redirect("privacy_settings")
    else:
        form = ProviderPolicyForm(
            initial={"allows_unstated_retention": user.allows_unstated_retention}
        )
    today = timezone.now().date()
    context = {
        "section": "privacy",
        "form": form,
        "keys": ApiKey.objects.filter(user=user, revoked_at=None).order_by("-created_at"),
        "unstated": provider_policy.providers_without_retention(today),
    }
    return render(request, "privacy/settings.html", context)
