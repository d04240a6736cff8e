"""Signing up and in, and what belongs to that: allauth's pages below /accounts/, and our own."""

from django.urls import include, path
from django.views.generic import RedirectView

from accounts import views

urlpatterns = [
    path("settings/security", views.security, name="security"),
    path("settings/sessions/<int:pk>/end", views.end_session, name="end_session"),
    path("mailbox", views.show_mailbox, name="mailbox"),
    # The page of security has all of this.
    path("accounts/2fa/", RedirectView.as_view(pattern_name="security"), name="mfa_index"),
    path("accounts/", include("allauth.urls")),
]
