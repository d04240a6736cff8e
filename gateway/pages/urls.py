"""Pages about models and providers, keys, usage and requests."""

from django.contrib.auth.decorators import login_not_required
from django.urls import path
from django.views.generic import TemplateView

from gateway.pages import usage

_soon = TemplateView.as_view(template_name="soon.html")
_public = login_not_required(TemplateView.as_view(template_name="soon.html"))

urlpatterns = [
    path("models", _public, name="models"),
    path("providers", _public, name="providers"),
    path("status", _public, name="status"),
    path("keys", _soon, name="keys"),
    path("usage", usage.usage_page, name="usage"),
    path("usage.csv", usage.usage_csv, name="usage_csv"),
    path("requests", _soon, name="requests"),
]
