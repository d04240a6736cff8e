from allauth.account.views import ConfirmEmailVerificationCodeView
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts import mailbox, security_changes, session_list
from accounts.signed_in import SignedInRequest

KEYS_WORK_ON = "API keys work on: revoke the ones you don't know."
CODE_HAS_ENDED = "This code works no longer. Sign in again, and we send you a new one."


@method_decorator(login_not_required, name="dispatch")
class ConfirmAddress(ConfirmEmailVerificationCodeView):
    """Explain a code that came too late: allauth's page redirects without a message."""

    def dispatch(self, request: HttpRequest, *arguments, **named) -> HttpResponse:
        response = super().dispatch(request, *arguments, **named)
        if request.method == "POST" and self._process is None and not request.user.is_authenticated:
            messages.error(request, CODE_HAS_ENDED)
        return response


@require_safe
def security(request: SignedInRequest) -> HttpResponse:
    authenticators: dict[str, list] = {type: [] for type in Authenticator.Type.values}
    for row in Authenticator.objects.filter(user=request.user).order_by("id"):
        authenticators[row.type].append(row)
    codes = authenticators["recovery_codes"]
    context = {
        "section": "security",
        "totp": authenticators["totp"],
        "passkeys": authenticators["webauthn"],
        "has_second_factor": bool(authenticators["totp"] or authenticators["webauthn"]),
        "unused_codes": len(codes[0].wrap().get_unused_codes()) if codes else None,
        "sessions": session_list.of(request.user),
        "key_count": request.user.api_keys.filter(revoked_at=None).count(),
    }
    return render(request, "account/security.html", context)


@require_POST
def end_session(request: SignedInRequest, pk: int) -> HttpResponse:
    session = get_object_or_404(UserSession, pk=pk, user=request.user)
    session.end()
    messages.success(request, "That session has ended.")
    return redirect("security")


@require_POST
def end_other_sessions(request: SignedInRequest) -> HttpResponse:
    session_list.end_others(request.user, current=request.session.session_key)
    messages.success(request, f"{security_changes.OTHERS_HAVE_ENDED} {KEYS_WORK_ON}")
    return redirect("security")


@require_safe
@never_cache
@login_not_required
def show_mailbox(request: HttpRequest) -> HttpResponse:
    """Show the mails of a Kyma without a mail server to the person who started it.

    The token leads to the address without it, so that no history and no Referer keeps it.
    """
    if mailbox.opens(request.GET.get("token", "")):
        response = redirect("mailbox")
        mailbox.set_cookie(response)
        return response
    if not mailbox.is_open_to(request):
        raise Http404
    return render(request, "account/mailbox.html", {"mails": mailbox.mails()[::-1]})
