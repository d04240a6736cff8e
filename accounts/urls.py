"""Signing up, signing in and security: allauth's pages below /accounts/, and our own."""

from django.urls import include, path
from django.views.generic import RedirectView

from accounts import views

_security = RedirectView.as_view(pattern_name="security")

urlpatterns = [
    path("settings/security", views.security, name="security"),
    path("settings/sessions/end-others", views.end_other_sessions, name="end_other_sessions"),
    path("settings/sessions/<int:pk>/end", views.end_session, name="end_session"),
    path("mailbox", views.show_mailbox, name="mailbox"),
    # Our security page replaces these.
    path("accounts/2fa/", _security, name="mfa_index"),
    path("accounts/2fa/webauthn/", _security, name="mfa_list_webauthn"),
    path("accounts/sessions/", _security, name="usersessions_list"),
    path(
        "accounts/confirm-email/",
        views.ConfirmAddress.as_view(),
        name="account_email_verification_sent",
    ),
    path("accounts/", include("allauth.urls")),
]
