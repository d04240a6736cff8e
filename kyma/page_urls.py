"""Kyma's public pages, and the overview."""

from django.contrib.auth.decorators import login_not_required
from django.urls import path
from django.views.generic import TemplateView

_soon = TemplateView.as_view(template_name="soon.html")
_public = login_not_required(TemplateView.as_view(template_name="soon.html"))

urlpatterns = [
    path("", _public, name="landing"),
    path("docs", _public, name="docs"),
    path("terms", _public, name="terms"),
    path("contact", _public, name="contact"),
    path("privacy", _public, name="policy"),
    path("dashboard", _soon, name="overview"),
    path("settings/privacy", _soon, name="privacy_settings"),
]
