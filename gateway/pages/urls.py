"""Pages about models and providers, keys, usage and requests."""

from django.urls import path
from django.views.generic import TemplateView

from gateway.pages import public, usage

_soon = TemplateView.as_view(template_name="soon.html")

urlpatterns = [
    path("models", public.models, name="models"),
    path("models.json", public.models_json, name="models_json"),
    path("models/<path:slug>", public.model, name="model"),
    path("providers", public.providers, name="providers"),
    path("status", public.status, name="status"),
    path("status.json", public.status_json, name="status_json"),
    path("keys", _soon, name="keys"),
    path("usage", usage.usage_page, name="usage"),
    path("usage.csv", usage.usage_csv, name="usage_csv"),
    path("requests", _soon, name="requests"),
]
