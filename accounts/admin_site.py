"""The way into the admin: only for staff, through the sign-in page that everybody uses.

So the limits on attempts and the second factor apply here too. With STAFF_MFA_REQUIRED the session
must have shown a second factor. A session that began before one was set up, perhaps with a stolen
password, has to show it now.
"""

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode

from accounts import mfa

MFA_IS_MISSING = "Turn on two-step sign-in first: without it nobody enters the administration."


class StaffSite(AdminSite):
    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and not _lacks_second_factor(request)

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context=None) -> HttpResponse:
        if super().has_permission(request) and _lacks_second_factor(request):
            return _ask_for_second_factor(request)
        return secure_admin_login(super().login)(request, extra_context)

    def password_change(self, request, extra_context=None):
        """Lead to Kyma's own page, which notifies the person by mail."""
        return redirect("account_change_password")


def _lacks_second_factor(request: HttpRequest) -> bool:
    return settings.STAFF_MFA_REQUIRED and not mfa.was_shown(request)


def _ask_for_second_factor(request: HttpRequest) -> HttpResponse:
    """Lead to the page for the second factor, or to where the person can first set one up."""
    address = mfa.reauthentication_address(request.user)
    if address is None:
        messages.warning(request, MFA_IS_MISSING)
        return redirect("security")
    return redirect(f"{address}?{urlencode({'next': reverse('admin:index')})}")
