"""Kyma's settings of allauth that need code: mails, sign-up and sign-in.

A mail with a code or a link is sent while the request waits, at most EMAIL_TIMEOUT. All other
mails are notices, which a job sends (accounts/notices.py).
"""

import logging
from smtplib import SMTPException
from typing import ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import context as allauth_context
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts import known_browsers, mails, notices, session_list
from accounts.allauth_internals import (
    EMAIL_VERIFICATION_CODE_SESSION_KEY,
    clear_login,
    consume_rate,
)
from accounts.errors import PasswordsBusy
from accounts.models import User

logger = logging.getLogger(__name__)

TRY_AGAIN_AFTER_S = 60
KNOWN_BROWSERS_RATE = "10/5m/key"  # wrong passwords
NEW_BROWSER = "account/email/new_browser"
CHANGED_MEANWHILE = "How you sign in was changed meanwhile. Please sign in once more."
_BEGUN_WITH = "sign_in_begun_with"  # hash of password and epoch (accounts/security_changes.py)


def display(user: User) -> str:
    return user.email


class AccountAdapter(DefaultAccountAdapter):
    # The same text serves wrong passwords and wrong codes.
    error_messages: ClassVar = {
        **DefaultAccountAdapter.error_messages,
        "too_many_login_attempts": "Too many wrong tries. Wait a few minutes, then sign in again, "
        "or choose a new password if you forgot yours.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """True when mail can be sent: otherwise the confirmation code would never arrive."""
        return bool(settings.EMAIL_HOST or settings.LOCAL_MAILBOX)

    def save_user(self, request, user, form, commit=True) -> User:
        return User.objects.create_user(
            form.cleaned_data["email"], password_hash=form.password_hash
        )

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the peer's address when X-Forwarded-For lacks proxies, instead of failing."""
        try:
            return super().get_client_ip(request)
        except ImproperlyConfigured:
            return request.META["REMOTE_ADDR"]

    def pre_authenticate(self, request: HttpRequest, **credentials) -> None:
        """Count a try, in the bucket of known browsers if this is one. Raises ValidationError."""
        bucket = known_browsers.bucket(request, credentials.get("email", ""))
        if bucket is None:
            super().pre_authenticate(request, **credentials)
            return
        usage = consume_rate(request, "login_in_known_browser", KNOWN_BROWSERS_RATE, key=bucket)
        if not usage:
            raise self.validation_error("too_many_login_attempts")
        self._login_failed_rl_usage = usage  # allauth takes it back after the right password.

    def authenticate(self, request: HttpRequest, **credentials):
        try:
            return super().authenticate(request, **credentials)
        except PasswordsBusy:  # Nobody was wrong.
            self._rollback_login_failed_rl_usage()
            raise

    def pre_login(self, request: HttpRequest, user: User, **facts):
        request.session[_BEGUN_WITH] = user.get_session_auth_hash()
        return super().pre_login(request, user, **facts)

    def login(self, request: HttpRequest, user: User) -> None:
        """Sign in, unless the password or the session epoch has changed since the sign-in began.

        Raises ImmediateHttpResponse, which leads back to the first step.
        """
        if request.session.pop(_BEGUN_WITH, None) != user.get_session_auth_hash():
            clear_login(request)
            messages.error(request, CHANGED_MEANWHILE)
            raise ImmediateHttpResponse(redirect("account_login"))
        super().login(request, user)

    def post_login(self, request: HttpRequest, user: User, *, signup: bool, **facts):
        """Record a notice when the browser is new, except at the person's first sign-in of all."""
        response = super().post_login(request, user, signup=signup, **facts)
        cookie = known_browsers.cookie_of(request)
        if not signup and not known_browsers.knows(cookie, user):
            browser = session_list.describe(self.get_http_user_agent(request)[:200])
            notices.record(
                user, template=NEW_BROWSER, address=user.email, facts={"browser": browser}
            )
        known_browsers.set_cookie(response, known_browsers.remember(cookie, user))
        return response

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("security")

    def get_email_verification_redirect_url(self, email_address: EmailAddress) -> str:
        return reverse("security" if self.request.user.is_authenticated else "account_login")

    def send_mail(self, template_prefix: str, email: str, context: dict) -> None:
        """Send a mail. Raises ImmediateHttpResponse with a page of explanation if that fails."""
        try:
            mails.send(template_prefix, email, context)
        except (SMTPException, OSError) as error:
            logger.error("a mail could not be sent: %s", type(error).__name__)
            raise ImmediateHttpResponse(_mail_failed(allauth_context.request)) from error

    def send_notification_mail(self, template_prefix, user, context=None, email=None) -> None:
        address = email or EmailAddress.objects.get_primary_email(user)
        if address:
            facts = {key: str(value) for key, value in (context or {}).items()}
            facts["ip"] = self.get_client_ip(self.request)
            facts["user_agent"] = self.get_http_user_agent(self.request)[:200]
            notices.record(user, template=template_prefix, address=address, facts=facts)


def _mail_failed(request: HttpRequest):
    """Say that the mail failed. The new account stays, and its next sign-in sends a code."""
    if EMAIL_VERIFICATION_CODE_SESSION_KEY not in request.session:
        clear_login(request)  # There is no code to ask for.
    response = render(request, "account/mail_failed.html", status=503)
    response["Retry-After"] = str(TRY_AGAIN_AFTER_S)
    return response
