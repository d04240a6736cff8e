"""Signing up, signing in and security: allauth's pages below /accounts/, and our own."""

from django.urls import include, path, re_path
from django.views.generic import RedirectView

from accounts import password_pages, views

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
    path("accounts/login/", password_pages.LogIn.as_view(), name="account_login"),
    path("accounts/signup/", password_pages.SignUp.as_view(), name="account_signup"),
    path(
        "accounts/reauthenticate/",
        password_pages.Reauthenticate.as_view(),
        name="account_reauthenticate",
    ),
    path(
        "accounts/password/change/",
        password_pages.ChangePassword.as_view(),
        name="account_change_password",
    ),
    path(
        "accounts/password/set/",
        password_pages.SetPassword.as_view(),
        name="account_set_password",
    ),
    re_path(
        r"^accounts/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        password_pages.ResetPassword.as_view(),
        name="account_reset_password_from_key",
    ),
    path("accounts/", include("allauth.urls")),
]
