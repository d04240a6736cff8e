"""Signing up and in, and what belongs to that."""

from django.contrib.auth.decorators import login_not_required
from django.urls import path
from django.views.generic import TemplateView

_soon = TemplateView.as_view(template_name="soon.html")
_public = login_not_required(TemplateView.as_view(template_name="soon.html"))

urlpatterns = [
    path("accounts/login/", _public, name="account_login"),
    path("accounts/signup/", _public, name="account_signup"),
    path("accounts/logout/", _public, name="account_logout"),
    path("settings/security", _soon, name="security"),
]
