"""Who may enter the admin: staff, signed in by the same page as everybody else.

So the limits on attempts and the second factor apply here too. With STAFF_MFA_REQUIRED nobody
enters who has no second factor: whoever has one was asked for it at the sign-in.
"""

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator

from accounts import mfa

MFA_IS_MISSING = "Turn on two-step sign-in first: without it nobody enters the administration."


class StaffSite(AdminSite):
    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and not _lacks_second_factor(request)

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context=None) -> HttpResponse:
        if super().has_permission(request) and _lacks_second_factor(request):
            messages.warning(request, MFA_IS_MISSING)
            return redirect("security")
        return _login(request, super().login, extra_context)


def _lacks_second_factor(request: HttpRequest) -> bool:
    return settings.STAFF_MFA_REQUIRED and not mfa.has_second_factor(request.user)


def _login(request: HttpRequest, login, extra_context) -> HttpResponse:
    return secure_admin_login(login)(request, extra_context)
